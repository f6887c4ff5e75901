"""The newest messages, which are on disk but not in the table yet: no I/O.

They are in the journal, where they are not looked for: they are kept here until they
are folded, a generation at a time.

All of this happens in the event loop, so nothing here walks over more than a page or a
commit. Positions have no gaps: where a message stands in the list of its room is known
from its `seq`.
"""

from collections.abc import Sequence

from chat.storage.base import Range
from gen.chat import ChatMessage

_Rooms = dict[str, list[ChatMessage]]
"""Messages of one generation of the journal by their room, in the order of `seq`."""


class Tail:
    """The tails of all rooms: of each, the messages behind those in the table."""

    def __init__(self) -> None:
        self._generations: dict[int, _Rooms] = {}  # the oldest first
        self._dropped: list[_Rooms] = []

    def add(self, generation: int, messages: Sequence[ChatMessage]) -> None:
        """Adds messages that were stored, in each room in the order of `seq`."""
        rooms = self._generations.setdefault(generation, {})
        for message in messages:
            room_id = message.room_id
            if room_id in rooms:
                rooms[room_id].append(message)
            else:
                rooms[room_id] = [message]

    def replace(self, message: ChatMessage) -> None:
        """Takes note of what became of a message, if it is here."""
        for rooms in self._generations.values():
            if run := rooms.get(message.room_id):
                nth = message.seq - run[0].seq
                if 0 <= nth < len(run):
                    run[nth] = message

    def drop(self, before: int) -> None:
        """Removes the messages of all generations before that one: they are in the table.

        Their memory is given back by `release`.
        """
        for generation in [each for each in self._generations if each < before]:
            self._dropped.append(self._generations.pop(generation))

    def release(self, number: int) -> bool:
        """Gives back the memory of removed messages, to do it in pieces.

        Args:
            number: of how many messages at most.

        Returns:
            Whether there are more of them.
        """
        while self._dropped:
            rooms = self._dropped[-1]
            while rooms:
                room_id, messages = rooms.popitem()
                if len(messages) > number:
                    rooms[room_id] = messages
                    del messages[len(messages) - number :]
                    return True
                number -= len(messages)
            self._dropped.pop()
        return False

    def last_seq(self, room_id: str) -> int:
        """Returns the `seq` of the newest message of a room, or 0 if it has no tail."""
        for rooms in reversed(self._generations.values()):
            if room_id in rooms:
                return rooms[room_id][-1].seq
        return 0

    def newest(self, room_id: str) -> ChatMessage | None:
        """Returns the newest message of a room, if it is here."""
        for rooms in reversed(self._generations.values()):
            if room_id in rooms:
                return rooms[room_id][-1]
        return None

    def find(self, room_id: str, span: Range) -> tuple[list[ChatMessage], Range | None]:
        """Looks for the messages of a range.

        Returns:
            Those that are in the tail, oldest first, and of them no more than `span.limit`
            in the direction of paging; and the range in which the table has the others, if
            it may have some.
        """
        runs = [rooms[room_id] for rooms in self._generations.values() if room_id in rooms]
        if not runs:
            return [], span
        first = runs[0][0].seq
        behind = runs[-1][-1].seq + 1
        after = span.after_seq or 0
        start = max(first, after + 1)
        end = behind if span.before_seq is None else min(behind, span.before_seq)
        if span.after_seq is None:
            start = max(start, end - span.limit)
        else:
            end = min(end, start + span.limit)
        found = _slice(runs, start, end)
        if after + 1 >= first:
            return found, None
        before = first if span.before_seq is None else min(first, span.before_seq)
        return found, Range(span.limit, before, span.after_seq)


def _slice(runs: Sequence[list[ChatMessage]], start: int, end: int) -> list[ChatMessage]:
    """Returns the messages from one position up to before another out of runs that follow on."""
    found: list[ChatMessage] = []
    for run in runs:
        first = run[0].seq
        found += run[max(0, start - first) : max(0, end - first)]
    return found
