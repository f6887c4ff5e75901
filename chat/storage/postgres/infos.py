"""What is known of rooms beside their messages, as bytes, and among the changes of a room: no I/O.

It is a row of ``states`` in the place of a message 0 (see ``sql/006_rooms.sql``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import codec
from chat.storage.base import StoreError
from chat.storage.rooms import room_of
from codec import DecodeError
from gen.chat import MessageChange, MessageState, Room, RoomChanges

if TYPE_CHECKING:
    from collections.abc import Iterable

ITSELF: Final = 0
"""The place of the room itself among the positions of its messages."""

Altered = MessageChange | Room
"""What changed in a room: a message, or the room itself."""


def packed_info(room: Room) -> bytes:
    """Returns what is known of a room, as the column ``extra``: its id is elsewhere."""
    return codec.encode(replace(room, id=""))


def packed_number(room: Room) -> bytes:
    """Returns its number, as the column ``state``: a state that programs of before can read."""
    return codec.encode(MessageState(change=room.change))


def info_from(room_id: str, packed: bytes | None) -> Room:
    """Returns what is known of a room.

    Raises:
        StoreError: it is not what this program wrote.
    """
    try:
        room = codec.decode(Room, packed or b"")
    except DecodeError as error:
        raise StoreError(f"what is known of room {room_id} is not readable: {error}") from error
    room.id = room_id
    return room


def number_of(changed: Altered) -> int:
    """Returns the number of a change."""
    return changed.change if isinstance(changed, Room) else changed.state.change


def span_of(room_id: str, after: int, last: int, found: Iterable[Altered]) -> RoomChanges:
    """Returns changes of a room that were found behind one, up to another."""
    changes = RoomChanges(room_id, after, last)
    for each in found:
        if isinstance(each, Room):
            changes.room = each
        else:
            changes.messages.append(each)
    return changes


def newest_seq(changes: RoomChanges) -> int:
    """Returns the position of what changed last; `ITSELF` for the room itself."""
    messages: Sequence[MessageChange] = changes.messages
    room = room_of(changes)
    if room is not None and (not messages or room.change > messages[-1].state.change):
        return ITSELF
    return messages[-1].seq
