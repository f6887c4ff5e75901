"""The rooms that a node follows, be it their messages or their changes: no I/O.

Both are numbers that go up by room. Of each it is known up to which one it was announced, and how
far it goes as far as anybody told: where that is further, the room is behind.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar


class Stay:
    """One stay in a room.

    Attributes:
        announced: the number up to which it was announced; `None` until its head was read.
        hinted: the highest number that a hint told.
        sure: the highest number that is known to have been stored.
        waiting: what is to be called, and when which number was announced.
    """

    __slots__ = ("announced", "hinted", "sure", "waiting")

    def __init__(self, announced: int | None = None) -> None:
        self.announced = announced
        self.hinted = self.sure = announced or 0
        self.waiting: list[tuple[int, Callable[[], None]]] = []

    @property
    def is_behind(self) -> bool:
        """Whether there is something to fetch, as far as anybody told."""
        return self.announced is not None and max(self.hinted, self.sure) > self.announced


StayT = TypeVar("StayT", bound=Stay)


class Followed(Generic[StayT]):
    """The rooms, and which of them are behind."""

    def __init__(self) -> None:
        self._stays: dict[str, StayT] = {}
        # In the order in which they are fetched; whether an append was waited for already.
        self._behind: dict[str, bool] = {}

    def __contains__(self, room_id: object) -> bool:
        return room_id in self._stays

    def position(self, room_id: str) -> int | None:
        """Returns how far a room was announced; `None` if it is not followed yet."""
        stay = self._stays.get(room_id)
        return None if stay is None else stay.announced

    def leave(self, room_id: str) -> None:
        """Ends a stay; nothing happens if there is none."""
        stay = self._stays.pop(room_id, None)
        self._behind.pop(room_id, None)
        if stay is not None:
            _call(stay.waiting)

    def hint(self, heads: Mapping[str, int]) -> None:
        """Takes numbers that another node told; they may be old, or wrong."""
        for room_id, head in heads.items():
            stay = self._stays.get(room_id)
            if stay is not None and head > stay.hinted:
                stay.hinted = head
                self._queue(room_id, stay)

    def reach(self, room_id: str, head: int, call: Callable[[], None]) -> None:
        """Takes a number that was read, and calls back once a room was announced that far.

        At once if it was, or if it is not followed.
        """
        stay = self._stays.get(room_id)
        if stay is None or stay.announced is None or stay.announced >= head:
            call()
            return
        stay.sure = max(head, stay.sure)
        stay.waiting.append((head, call))
        self._queue(room_id, stay)

    @property
    def is_behind(self) -> bool:
        """Whether there is anything to fetch."""
        return bool(self._behind)

    def _queue(self, room_id: str, stay: StayT) -> None:
        if stay.is_behind:
            self._behind.setdefault(room_id, False)

    def _reached(self, room_ids: Iterable[str]) -> None:
        """Calls back who waited for what was announced just now."""
        for room_id in room_ids:
            stay = self._stays.get(room_id)
            if stay is not None and stay.waiting and stay.announced is not None:
                reached = [each for each in stay.waiting if each[0] <= stay.announced]
                stay.waiting = [each for each in stay.waiting if each[0] > stay.announced]
                _call(reached)

    def _replace(self, stays: dict[str, StayT]) -> None:
        """Begins other stays, of another history; who waits is called back."""
        before, self._behind = self._stays, {}
        self._stays = stays
        for stay in before.values():
            _call(stay.waiting)


def _call(waiting: Iterable[tuple[int, Callable[[], None]]]) -> None:
    for _, call in waiting:
        call()
