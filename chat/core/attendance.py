"""Who is in which room, at this node and at others: no I/O, and the time is given.

Whoever goes is still there for a while (`crowd`): at this node, so that a client or a proxy that
comes back was never away. What another node tells has waited there, and holds at once; but if
the node is lost, its users are there for that while, as they may come to this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Generic, TypeVar

from chat.core.crowd import Crowd, Report

Source = TypeVar("Source", bound=Hashable)

LINGER_SECONDS: Final = 15.0
"""How long users are in a room whose last client in it has gone."""

NODE_SECONDS: Final = 75.0
"""How long what another node told of a room holds, unless it is told again."""

MOST_NAMES: Final = 500
"""How many users of a room a proxy may name."""

MOST_SHOWN: Final = 50
"""In rooms with more users nobody is named to those who follow who is there."""


MOST_OF_STREAM: Final = 2000
"""How many users one client's stream may bring into all its rooms; others do not count."""

MOST_OF_LINK: Final = 1_000_000
"""How many users one proxy may name in all its rooms; those of further rooms are counted only."""


@dataclass(frozen=True, slots=True)
class State:
    """Who is in a room.

    Attributes:
        count: how many.
        user_ids: the first of those that are named, in the order of ids.
    """

    count: int
    user_ids: tuple[str, ...] = ()


class _Room(Generic[Source]):
    __slots__ = ("due", "far", "near")

    def __init__(self) -> None:
        self.near: Crowd[Source] = Crowd()
        # Most have no users at other nodes.
        self.far: Crowd[str] | None = None
        # When it is looked at next.
        self.due = 0.0

    @property
    def count(self) -> int:
        near, far = self.near, self.far
        count = near.named + near.others
        if far is not None:
            count += far.others + sum(user_id not in near for user_id in far)
        return count

    def users(self) -> Iterator[str]:
        near, far = self.near, self.far
        beside = (user_id for user_id in far if user_id not in near) if far is not None else ()
        return chain(near, beside)


class Attendance(Generic[Source]):
    """Who is in which room.

    Args:
        linger: how long users are in a room whose last client has gone, in seconds.
    """

    def __init__(self, linger: float = LINGER_SECONDS) -> None:
        self._linger = linger
        self._rooms: dict[str, _Room[Source]] = {}
        # How many names each source has given, of all rooms.
        self._given: dict[Source, int] = {}
        # When rooms are to be looked at: in that order.
        self._due: deque[tuple[float, str]] = deque()
        # Of each node its rooms, and when it told of each: the one that was told first comes first.
        self._nodes: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        """How many rooms have users."""
        return len(self._rooms)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rooms)

    def is_in(self, room_id: str, user_id: str) -> bool:
        """Whether a user is named in a room."""
        room = self._rooms.get(room_id)
        return room is not None and (
            user_id in room.near or (room.far is not None and user_id in room.far)
        )

    def has(self, room_id: str, source: Source, user_id: str) -> bool:
        """Whether a source has named a user in a room."""
        room = self._rooms.get(room_id)
        return room is not None and user_id in room.near.names_of(source)

    def enter(self, room_id: str, source: Source, user_id: str) -> bool:
        """Adds a user as whom a stream is in a room; returns whether there may be so many."""
        given = self._given.get(source, 0)
        if given >= MOST_OF_STREAM:
            return False
        near = self._room(room_id).near
        if user_id not in near.names_of(source):
            near.add(source, user_id)
            self._given[source] = given + 1
        return True

    def put(
        self, room_id: str, source: Source, count: int, user_ids: Collection[str], now: float
    ) -> None:
        """Replaces what a proxy told of a room.

        Args:
            room_id: the room.
            source: its link.
            count: how many users it has there; at least as many as it names.
            user_ids: those that it names.
            now: the time in seconds; it never runs backward.
        """
        room = self._room(room_id)
        before = len(room.near.names_of(source))
        names = dict.fromkeys(user_ids)
        given = self._given.get(source, 0) - before + len(names)
        if given > MOST_OF_LINK:
            given -= len(names)
            names = {}
        self._put(room_id, room, source, Report(names, count - len(names)), now)
        self._set_given(source, given)

    def leave(self, room_id: str, source: Source, now: float) -> bool:
        """Forgets what a source told of a room; returns whether it was anything."""
        room = self._rooms.get(room_id)
        if room is None:
            return False
        given = len(room.near.names_of(source))
        self._put(room_id, room, source, Report({}, 0), now)
        if given:
            self._set_given(source, self._given[source] - given)
        return True

    def hear(
        self, room_id: str, node: str, count: int, user_ids: Sequence[str], now: float
    ) -> None:
        """Replaces what another node told of its clients."""
        rooms = self._nodes.setdefault(node, {})
        rooms.pop(room_id, None)
        names = dict.fromkeys(user_ids[:MOST_SHOWN])
        others = max(count - len(names), 0)
        room = self._rooms.get(room_id)
        if names or others:
            rooms[room_id] = now
            room = room or self._room(room_id)
            room.far = room.far or Crowd()
            room.far.put(node, Report(names, others), None)
        elif room is not None and room.far is not None:
            room.far.drop(node, None)
            self._forget_if_empty(room_id, room)

    def lose(self, node: str, now: float) -> list[str]:
        """Forgets another node; returns its rooms."""
        rooms = list(self._nodes.pop(node, ()))
        for room_id in rooms:
            self._lose_room(room_id, node, now)
        return rooms

    def expire(self, now: float) -> list[str]:
        """Lets go whose time has come; returns the rooms in which that may be."""
        for node in tuple(self._nodes):
            rooms = self._nodes[node]
            while rooms and next(iter(rooms.values())) + NODE_SECONDS <= now:
                room_id = next(iter(rooms))
                del rooms[room_id]
                self._lose_room(room_id, node, now)
        ended = []
        while self._due and self._due[0][0] <= now:
            _, room_id = self._due.popleft()
            room = self._rooms.get(room_id)
            if room is not None:
                room.near.expire(now)
                if room.far is not None:
                    room.far.expire(now)
                self._forget_if_empty(room_id, room)
                ended.append(room_id)
        return ended

    def next_at(self) -> float | None:
        """When something ends next; `None` if nothing does."""
        ends = [
            next(iter(rooms.values())) + NODE_SECONDS for rooms in self._nodes.values() if rooms
        ]
        if self._due:
            ends.append(self._due[0][0])
        return min(ends, default=None)

    def count(self, room_id: str) -> int:
        """How many users are in a room."""
        room = self._rooms.get(room_id)
        return 0 if room is None else room.count

    def users(self, room_id: str) -> Iterator[str]:
        """The users in a room that are named, each once, in no order."""
        room = self._rooms.get(room_id)
        return iter(()) if room is None else room.users()

    def state(self, room_id: str) -> State:
        """Who is in a room; nobody is named in one with more than `MOST_SHOWN`."""
        count = self.count(room_id)
        if count > MOST_SHOWN:
            return State(count)
        return State(count, tuple(sorted(self.users(room_id))))

    def near(self, room_id: str) -> State:
        """Which of this node's clients are in a room."""
        room = self._rooms.get(room_id)
        if room is None:
            return State(0)
        near = room.near
        names = sorted(near)[:MOST_SHOWN] if near.named <= MOST_NAMES else ()
        return State(near.named + near.others, tuple(names))

    def _room(self, room_id: str) -> _Room[Source]:
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = _Room()
        return room

    def _put(
        self, room_id: str, room: _Room[Source], source: Source, report: Report, now: float
    ) -> None:
        if room.near.put(source, report, now + self._linger):
            self._look_at(room_id, room, now + self._linger)
        self._forget_if_empty(room_id, room)

    def _lose_room(self, room_id: str, node: str, now: float) -> None:
        room = self._rooms.get(room_id)
        if room is not None and room.far is not None:
            if room.far.drop(node, now + self._linger):
                self._look_at(room_id, room, now + self._linger)
            self._forget_if_empty(room_id, room)

    def _look_at(self, room_id: str, room: _Room[Source], due: float) -> None:
        if room.due != due:
            room.due = due
            self._due.append((due, room_id))

    def _set_given(self, source: Source, given: int) -> None:
        if given:
            self._given[source] = given
        else:
            self._given.pop(source, None)

    def _forget_if_empty(self, room_id: str, room: _Room[Source]) -> None:
        if room.far is not None and not room.far:
            room.far = None
        if not room.near and room.far is None:
            self._rooms.pop(room_id, None)
