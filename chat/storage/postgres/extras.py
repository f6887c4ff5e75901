"""What messages have beside their text, as bytes in the database: no I/O.

A row of ``states`` keeps apart what the sender added, which never changes, and what became of the
message. Read back, they are one `MessageExtra`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import codec
from chat.storage.base import StoreError
from chat.storage.changes import extra_of, state_of
from chat.storage.extras import give, sealed
from codec import DecodeError
from gen.chat import ChatMessage, MessageExtra, MessageState
from hosting.logs import get_logger

log = get_logger(__name__)

EVERYONE = ""
"""As the user of a mention: whoever reads the room."""


def added(message: ChatMessage) -> bytes | None:
    """Returns what the sender added to a message; `None` if that is nothing."""
    extra = extra_of(message)
    if extra is None:
        return None
    if extra.is_set("state"):
        extra = replace(extra)
        extra.held_state = None
    return codec.encode(extra) or None


def mentioned(message: ChatMessage) -> Iterator[str]:
    """Yields `EVERYONE`, or the users that a message is for, each once; not its sender."""
    extra = extra_of(message)
    if extra is not None and extra.mentions_room:
        yield EVERYONE
    elif extra is not None:
        yield from {user_id for user_id in extra.mentions if user_id != message.sender_id}


def packed_state(message: ChatMessage) -> bytes:
    """Returns what became of a message, as it is stored."""
    state = state_of(message)
    return b"" if state is None else sealed(codec.encode(state))


def add(message: ChatMessage, extra: bytes | None, state: bytes | None) -> ChatMessage:
    """Gives a message what its row of ``states`` has, for somebody who reads it; returns it.

    Raises:
        StoreError: it is not what this program wrote.
    """
    if extra is None and state is None:
        return message
    try:
        found = codec.decode(MessageExtra, extra or b"")
        if state is not None:
            found.state = codec.decode(MessageState, state)
    except DecodeError as error:
        raise StoreError(
            f"message {message.seq} of room {message.room_id} has no readable state: {error}"
        ) from error
    message.extra = found
    return message


def give_all(
    messages: Sequence[ChatMessage],
    extras: Sequence[bytes | None],
    states: Sequence[bytes | None],
) -> None:
    """Gives messages what their rows of ``states`` have, to pass them on.

    Raises:
        StoreError: see `add`.
    """
    try:
        give(messages, extras, states)
    except DecodeError:
        for message, extra, state in zip(messages, extras, states, strict=True):
            add(message, extra, state)


def add_all(
    messages: list[ChatMessage],
    extras: Sequence[bytes | None] | None,
    states: Sequence[bytes | None] | None,
) -> list[ChatMessage]:
    """Gives messages what their rows of ``states`` have; there may be none of them.

    What cannot be read is left out, with a line in the log: others must not wait for it.
    """
    if extras is not None and states is not None:
        for message, extra, state in zip(messages, extras, states, strict=True):
            try:
                add(message, extra, state)
            except StoreError:
                log.exception("a message is shown without its state")
    return messages


def is_same(mine: ChatMessage, row: ChatMessage) -> bool:
    """Whether a row is what was sent, as far as one can tell: it may have changed since."""
    if state_of(row) is not None:
        return True
    return mine.content == row.content and added(mine) == added(row)
