"""All that is stored of a user, as lines of JSON: no I/O.

Each line is an object with one member, which names its kind. Messages are as clients get them,
in protobuf's JSON mapping; a deleted one has no text. The kinds come in this order:

==================  ===========================================================================
`user`              the profile: `id`, `name`, `email`, `tone`
`mark`              how far the user has read a room: `room_id`, `seq`
`message`           one that the user sent, with its extra and state, in each room by `seq`
`reaction`          one that the user gave: `room_id`, `seq`, `emoji`
`mentioned_in`      a message of somebody else that mentions the user: `room_id`, `seq`
==================  ===========================================================================
"""

from datetime import datetime
from typing import NamedTuple

import orjson

import codec
from chat.storage.extras import give
from gen.chat import ChatMessage


class OwnMessage(NamedTuple):
    """A message of the user, as it is stored.

    Attributes:
        content: its text as it stands.
        extra: an encoded `MessageExtra` without its state, if it has any.
        state: an encoded `MessageState`, if it ever changed.
    """

    room_id: str
    seq: int
    id: str
    sent_at: datetime
    content: str
    extra: bytes | None
    state: bytes | None


def user_line(user_id: str, name: str, email: str, tone: int) -> bytes:
    """Returns the line of the profile."""
    return _line("user", {"id": user_id, "name": name, "email": email, "tone": tone})


def mark_line(room_id: str, seq: int) -> bytes:
    """Returns the line of a read mark."""
    return _line("mark", {"room_id": room_id, "seq": seq})


def message_line(user_id: str, own: OwnMessage) -> bytes:
    """Returns the line of a message."""
    message = ChatMessage(
        id=own.id,
        room_id=own.room_id,
        sender_id=user_id,
        content=own.content,
        seq=own.seq,
        sent_at=own.sent_at,
    )
    give([message], [own.extra], [own.state])
    return b'{"message":%b}\n' % codec.to_json(message)


def reaction_line(room_id: str, seq: int, emoji: str) -> bytes:
    """Returns the line of a reaction."""
    return _line("reaction", {"room_id": room_id, "seq": seq, "emoji": emoji})


def mention_line(room_id: str, seq: int) -> bytes:
    """Returns the line of a message that mentions the user."""
    return _line("mentioned_in", {"room_id": room_id, "seq": seq})


def _line(kind: str, values: dict[str, str | int]) -> bytes:
    return orjson.dumps({kind: values}) + b"\n"
