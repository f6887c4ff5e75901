"""Changes of a room that are told together: no I/O.

Of a message that changed several times only what came last is told, with its text if that is
among the changes. Messages are in the order of their last changes, so that a span that is too
large may be cut anywhere: each piece ends at the last change of its last message, and all that
did not change again later is in it. The room itself, if it was set among the changes, is in the
piece that has its change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chat.storage.rooms import room_of
from gen.chat import MessageChange, RoomChanges

FRAME_BYTES: Final = 256 * 1024
"""How large a frame of changes is at most, roughly, if it has more than one message."""

# At most: the numbers and times of a state; a kind of reaction; what is around a name.
_STATE_BYTES: Final = 128
_KIND_BYTES: Final = 48
_NAME_BYTES: Final = 3
_CHARACTER_BYTES: Final = 4


class Span:
    """What changed in a room, from behind one change up to another.

    Attributes:
        room_id: the room.
        after_change: the change behind which it begins.
        last_change: the change with which it ends.
        size: about how many bytes its messages take.
    """

    __slots__ = ("_messages", "_room", "after_change", "last_change", "room_id", "size")

    def __init__(self, changes: RoomChanges) -> None:
        self.room_id = changes.room_id
        self.after_change = changes.after_change
        self.last_change = changes.last_change
        self.size = 0
        self._room = room_of(changes)
        self._messages: dict[int, MessageChange] = {}
        for message in changes.messages:
            self._put(message)

    def extend(self, later: Span) -> Span:
        """Adds what came later; returns this span."""
        self.last_change = later.last_change
        if later._room is not None:
            self._room = later._room
        for message in later._messages.values():
            self._put(message)
        return self

    def frames(self) -> Iterator[RoomChanges]:
        """Yields it in pieces that chain; one, unless it is large."""
        after_change, room = self.after_change, self._room
        messages: list[MessageChange] = []
        size = 0
        for message in self._messages.values():
            more = _size(message)
            if messages and size + more > FRAME_BYTES:
                # A message may be told as it stands already, with a change of later on.
                last_change = min(messages[-1].state.change, self.last_change)
                is_here = room is not None and room.change <= last_change
                now, room = (room, None) if is_here else (None, room)
                yield RoomChanges(self.room_id, after_change, last_change, messages, now)
                after_change, messages, size = last_change, [], 0
            messages.append(message)
            size += more
        yield RoomChanges(self.room_id, after_change, self.last_change, messages, room)

    def _put(self, message: MessageChange) -> None:
        before = self._messages.pop(message.seq, None)
        if before is not None:
            self.size -= _size(before)
            if message.content is None and before.content is not None:
                message = MessageChange(message.seq, before.content, message.state)
        self._messages[message.seq] = message
        self.size += _size(message)


def _size(message: MessageChange) -> int:
    reactions = message.state.reactions
    content = message.content or ""
    size = _STATE_BYTES + _KIND_BYTES * len(reactions)
    size += len(content) if content.isascii() else _CHARACTER_BYTES * len(content)
    for each in reactions:
        size += _NAME_BYTES * len(each.user_ids)
        size += _CHARACTER_BYTES * sum(map(len, each.user_ids))
    return size
