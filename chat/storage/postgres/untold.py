"""What other nodes are to be told, and were not yet: of each room the newest. No I/O."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, TypeVar

from chat.storage.listener import UserMark, Whisper
from chat.storage.postgres.hint_payloads import Told

K = TypeVar("K")
V = TypeVar("V")

# Rooms that are told of at most: a bound on memory, if the bus is slow.
_MOST_ROOMS: Final = 10_000
# Whispers that are told at once: messages are not to wait behind many.
_MOST_WHISPERS: Final = 256


class Untold:
    """What waits for the bus."""

    def __init__(self) -> None:
        self._heads: dict[str, int] = {}
        self._changes: dict[str, int] = {}
        self._marks: dict[tuple[str, str], UserMark] = {}
        self._whispers: dict[tuple[type, str], Whisper] = {}

    def __bool__(self) -> bool:
        return bool(self._heads or self._changes or self._marks or self._whispers)

    def add_heads(self, heads: Mapping[str, int]) -> None:
        """Takes new heads of rooms."""
        _put(self._heads, heads)

    def add_changes(self, changes: Mapping[str, int]) -> None:
        """Takes the numbers of the newest changes of rooms."""
        _put(self._changes, changes)

    def add_marks(self, marks: Sequence[UserMark]) -> None:
        """Takes how far users have read."""
        _put(self._marks, {(each.user_id, each.mark.room_id): each for each in marks})

    def add_whisper(self, whisper: Whisper) -> None:
        """Takes who types, or who is there."""
        _put(self._whispers, {(type(whisper), whisper.room_id): whisper})

    def take(self, link: str) -> Told:
        """Takes what is to be told next, under the name of a link: all but many whispers."""
        whispers = list(islice(self._whispers, _MOST_WHISPERS))
        told = Told(
            link,
            dict(self._heads),
            dict(self._changes),
            list(self._marks.values()),
            [self._whispers.pop(key) for key in whispers],
        )
        for pending in (self._heads, self._changes, self._marks):
            pending.clear()
        return told

    def clear(self) -> None:
        """Forgets all of it."""
        for pending in (self._heads, self._changes, self._marks, self._whispers):
            pending.clear()


def _put(pending: dict[K, V], news: Mapping[K, V]) -> None:
    for key, value in news.items():
        if len(pending) < _MOST_ROOMS or key in pending:
            pending[key] = value
