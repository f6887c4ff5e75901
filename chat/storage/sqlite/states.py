"""What messages have beside their texts, as rows of `states` and `mentions`.

A row holds both in the encoding of protobuf: what the sender gave (`extra`, which never changes),
and what became of the message (`state`). They are read as hexadecimal digits, as what comes out
of a statement is one row of JSON.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import apsw
import orjson

import codec
from chat.storage.changes import extra_of
from chat.storage.extras import sealed
from gen.chat import ChatMessage, MessageExtra, MessageState

_ADD_STATES: Final = """
INSERT INTO states (position, extra) SELECT value ->> 0, unhex(value ->> 1) FROM json_each(?)
"""
_ADD_MENTIONS: Final = """
INSERT INTO mentions SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)
"""
_HAVE_STATES: Final = """
UPDATE rooms SET beside = 1
WHERE NOT beside AND room IN (SELECT value FROM json_each(?))
"""

EVERYONE: Final = ""
"""Stands in `mentions` for all users of the room."""


def with_state(message: ChatMessage, extra: str, state: str) -> ChatMessage:
    """Gives a message what it has beside its text, for somebody who reads it.

    Args:
        message: from a row; it is changed.
        extra: the column of that name in hexadecimal digits, or empty.
        state: likewise.

    Raises:
        ValueError: they are damaged.
    """
    if extra:
        message.extra = codec.decode(MessageExtra, bytes.fromhex(extra))
        if state:
            message.extra.state = state_from(state)
    elif state:
        message.extra = MessageExtra(state=state_from(state))
    return message


def blob_from(digits: str) -> bytes | None:
    """Returns a column that is no text, out of hexadecimal digits; `None` for NULL."""
    return bytes.fromhex(digits) if digits else None


def state_from(digits: str) -> MessageState:
    """Returns a state out of its column in hexadecimal digits.

    Raises:
        ValueError: it is damaged.
    """
    return codec.decode(MessageState, bytes.fromhex(digits))


def digits_of(message: MessageExtra | MessageState) -> str:
    """Returns an encoded message, with its checksum, in hexadecimal digits."""
    return sealed(codec.encode(message)).hex()


def add_extras(connection: apsw.Connection, messages: Sequence[tuple[int, ChatMessage]]) -> None:
    """Writes what new messages have beside their texts.

    Args:
        connection: in a transaction.
        messages: with their positions.
    """
    states: list[tuple[int, str]] = []
    mentions: list[tuple[str, int, str]] = []
    rooms: set[int] = set()
    for position, message in messages:
        extra = extra_of(message)
        if extra is not None:
            states.append((position, digits_of(extra)))
            mentions += _mentions(position, message.sender_id, extra)
            rooms.add(position >> 32)
    write(connection, _ADD_STATES, states)
    write(connection, _ADD_MENTIONS, mentions)
    write(connection, _HAVE_STATES, rooms)


def mentioned(extra: MessageExtra) -> Iterable[str]:
    """Returns the users in the rows of `mentions` of a message, the sender perhaps among them."""
    return [EVERYONE] if extra.mentions_room else extra.mentions


def write(connection: apsw.Connection, statement: str, rows: Iterable[Any]) -> None:
    """Executes a statement on rows, as JSON, if there are any: once, whatever their number."""
    if listed := list(rows):
        connection.execute(statement, (orjson.dumps(listed).decode(),))


def query(connection: apsw.Connection, statement: str, rows: Sequence[Any], *more: int) -> Any:
    """Executes a statement on rows, as JSON; returns its one value, which is JSON, too."""
    given = orjson.dumps(rows).decode()
    return orjson.loads(str(connection.execute(statement, (given, *more)).get))


def _mentions(position: int, sender_id: str, extra: MessageExtra) -> Iterator[tuple[str, int, str]]:
    for user_id in mentioned(extra):
        if user_id != sender_id:
            yield user_id, position, sender_id
