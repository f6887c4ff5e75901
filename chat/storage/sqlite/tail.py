"""The newest messages, which are on disk but not in the table yet: no I/O.

They are in the journal, where they are not looked for: they are kept here until they
are folded, a generation at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import codec
from chat.storage.base import Range
from gen.chat import ChatMessage


class _Generation:
    """The messages of one generation of the journal.

    They are sorted by room when somebody looks for them, which is seldom.
    """

    __slots__ = ("_rooms", "_unsorted")

    def __init__(self) -> None:
        self._rooms: dict[str, list[ChatMessage]] = {}
        self._unsorted: list[Sequence[ChatMessage]] = []

    def add(self, messages: Sequence[ChatMessage]) -> None:
        self._unsorted.append(messages)

    def of(self, room_id: str) -> Sequence[ChatMessage]:
        for messages in self._unsorted:
            for message in messages:
                self._rooms.setdefault(codec.fields_of(message)["room_id"], []).append(message)
        self._unsorted.clear()
        return self._rooms.get(room_id, ())


class Tail:
    """The tails of all rooms: of each, the messages behind those in the table."""

    def __init__(self) -> None:
        self._generations: dict[int, _Generation] = {}  # the oldest first

    def add(self, generation: int, messages: Sequence[ChatMessage]) -> None:
        """Adds messages that were stored, in each room in the order of `seq`."""
        self._generations.setdefault(generation, _Generation()).add(messages)

    def drop(self, before: int) -> None:
        """Removes the messages of all generations before that one: they are in the table."""
        for generation in [each for each in self._generations if each < before]:
            del self._generations[generation]

    def head(self, room_id: str) -> int:
        """Returns the `seq` of the newest message of a room, or 0 if it has no tail."""
        for generation in reversed(self._generations.values()):
            if messages := generation.of(room_id):
                seq: int = codec.fields_of(messages[-1])["seq"]
                return seq
        return 0

    def find(self, room_id: str, span: Range) -> tuple[list[ChatMessage], Range | None]:
        """Looks for the messages of a range.

        Returns:
            Those that are in the tail, oldest first; and the range in which the table
            has the others, if it may have some.
        """
        tail = [message for each in self._generations.values() for message in each.of(room_id)]
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
