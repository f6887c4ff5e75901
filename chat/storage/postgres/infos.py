"""What is known of rooms beside their messages, as bytes, and among the changes of a room: no I/O.

It is a row of ``states`` in the place of a message 0 (see ``sql/006_rooms.sql``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import codec
from chat.storage.base import StoreError
from chat.storage.rooms import ITSELF, room_of
from codec import DecodeError
from gen.chat import MessageChange, MessageState, Room, RoomChanges


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


def newest_seq(changes: RoomChanges) -> int:
    """Returns the position of what changed last; `ITSELF` for the room itself."""
    messages: Sequence[MessageChange] = changes.messages
    room = room_of(changes)
    if room is not None and (not messages or room.change > messages[-1].state.change):
        return ITSELF
    return messages[-1].seq
