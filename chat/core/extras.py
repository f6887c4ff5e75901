"""The rules of what a message has beside its text, and of requests to change it: pure checks.

What is accepted is stored as it was sent: a proxy keeps its own copy of a message, so that
nothing may be put right here. Two things alone are taken away, and a proxy does the same:
`MessageExtra.state`, which is the server's to say, and an extra of which nothing is left.

======================  ====================================================
`reply_to`              at least 1; that it exists is the store's to say
`mentions`              at most 50 ids, each once
`mentions_room`         whether the sender may is a matter of rights
`data`                  at most 4 KiB of UTF-8, without NUL
`react`, `unreact`      1 to 32 bytes of UTF-8, without control characters
`content`               as that of a message
======================  ====================================================
"""

from typing import Final

import betterproto

import codec
from chat.core.names import text_fault
from chat.core.rules import Rules
from chat.errors import InvalidArgument
from chat.storage.changes import extra_of
from gen.chat import ChangeMessageRequest, ChatMessage, MessageExtra

MOST_MENTIONED: Final = 50
"""How many users a message may mention."""
LARGEST_DATA: Final = 4 * 1024
"""The most bytes of `MessageExtra.data`."""
LONGEST_EMOJI: Final = 32
"""The most bytes of a kind of reaction."""

_EXTRA: Final = "chat_message.extra"


def has_extra(message: ChatMessage) -> bool:
    """Whether a message came with anything beside its text, be it nothing."""
    return message.held_extra is not None


def check_extra(rules: Rules, message: ChatMessage) -> MessageExtra | None:
    """Checks what a message that a client sends has beside its text.

    What the server alone may set is taken away.

    Returns:
        What is left; `None` if it is nothing.

    Raises:
        InvalidArgument: it breaks a rule; the text begins with the path.
    """
    extra = extra_of(message)
    if extra is not None:
        extra.held_state = None
        # What was assigned counts as set, even if it is empty.
        extra = extra if codec.encode(extra) else None
    if extra is None:
        message.held_extra = None
        return None
    if extra.reply_to == 0:
        raise InvalidArgument(f"{_EXTRA}.reply_to", "must be at least 1")
    _check_mentions(rules, extra.mentions)
    _check_data(extra.data)
    return extra


def check_change(rules: Rules, request: ChangeMessageRequest) -> None:
    """Checks a request to change a message, but for its user and what it is about.

    Raises:
        InvalidArgument: it breaks a rule; the text begins with the path.
    """
    rules.identifier(request.room_id, "room_id")
    check_position(request.seq, "seq")
    kind, value = betterproto.which_one_of(request, "change")
    if not kind:
        raise InvalidArgument("change", "expected one of content, delete, react, unreact, pinned")
    if kind == "content":
        rules.content(str(value), kind)
    elif kind in ("react", "unreact"):
        _check_emoji(str(value), kind)


def check_position(seq: int, path: str) -> None:
    """Checks the position of a message.

    Raises:
        InvalidArgument: there is no such position in any room.
    """
    if seq < 1:
        raise InvalidArgument(path, "must be at least 1")


def _check_mentions(rules: Rules, user_ids: list[str]) -> None:
    path = f"{_EXTRA}.mentions"
    if len(user_ids) > MOST_MENTIONED:
        raise InvalidArgument(path, f"must have at most {MOST_MENTIONED} users")
    for number, user_id in enumerate(user_ids):
        rules.identifier(user_id, f"{path}[{number}]")
    if len(set(user_ids)) < len(user_ids):
        raise InvalidArgument(path, "must have each user once")


def _check_data(data: str) -> None:
    if len(data.encode()) > LARGEST_DATA:
        raise InvalidArgument(f"{_EXTRA}.data", f"must have at most {LARGEST_DATA} bytes of UTF-8")
    if "\0" in data:
        raise InvalidArgument(f"{_EXTRA}.data", "must not contain NUL")


def _check_emoji(emoji: str, path: str) -> None:
    if not emoji:
        raise InvalidArgument(path, "must not be empty")
    if fault := text_fault(emoji):
        raise InvalidArgument(path, fault)
    if len(emoji.encode()) > LONGEST_EMOJI:
        raise InvalidArgument(path, f"must have at most {LONGEST_EMOJI} bytes of UTF-8")
