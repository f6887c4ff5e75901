"""The newest messages, which are on disk but not in the table yet: no I/O.

They are in the journal, where they are not looked for: they are kept here until they
are folded, a generation at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

import codec
from chat.storage.base import Range
from gen.chat import ChatMessage


class Tail:
    """The tails of all rooms: of each, the messages behind those in the table."""

    def __init__(self) -> None:
        # By generation, the oldest first; then by room.
        self._generations: dict[int, dict[str, list[ChatMessage]]] = {}

    def add(self, generation: int, messages: Iterable[ChatMessage]) -> None:
        """Adds messages that were stored, in each room in the order of `seq`."""
        rooms = self._generations.setdefault(generation, {})
        for message in messages:
            room_id = codec.fields_of(message)["room_id"]
            if room_id in rooms:
                rooms[room_id].append(message)
            else:
                rooms[room_id] = [message]

    def drop(self, before: int) -> None:
        """Removes the messages of all generations before that one: they are in the table."""
        for generation in [each for each in self._generations if each < before]:
            del self._generations[generation]

    def head(self, room_id: str) -> int:
        """Returns the `seq` of the newest message of a room, or 0 if it has no tail."""
        for rooms in reversed(self._generations.values()):
            if room_id in rooms:
                seq: int = codec.fields_of(rooms[room_id][-1])["seq"]
                return seq
        return 0

    def find(self, room_id: str, span: Range) -> tuple[list[ChatMessage], Range | None]:
        """Looks for the messages of a range.

        Returns:
            Those that are in the tail, oldest first; and the range in which the table
            has the others, if it may have some.
        """
        tail = [
            message for rooms in self._generations.values() for message in rooms.get(room_id, ())
        ]
        if not tail:
            return [], span
        first = tail[0].seq
        after, before = span.after_seq or 0, span.before_seq
        found = tail[max(0, after + 1 - first) :]
        if before is not None:
            found = [message for message in found if message.seq < before]
        if after + 1 >= first:
            return found, None
        before = first if before is None else min(first, before)
        return found, Range(span.limit, before, span.after_seq)
