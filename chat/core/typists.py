"""Who types in which room, at this node and at others: no I/O, and the time is given.

A source is a client's stream, a proxy's link, or another node. What it tells holds for a while,
unless it is told again: nobody types for ever, whatever is lost. Those who are told hold it for
as long, so they are told again before that, while somebody goes on typing.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

Source = TypeVar("Source", bound=Hashable)

HOLD_SECONDS: Final = 6.0
"""How long whoever has said so types."""

MOST_TYPISTS: Final = 5
"""How many are named; the others are counted."""


class Typing(NamedTuple):
    """Who types in a room.

    Attributes:
        user_ids: those that began first, at most `MOST_TYPISTS`.
        others: how many more.
    """

    user_ids: tuple[str, ...] = ()
    others: int = 0

    def __bool__(self) -> bool:
        """Whether anybody types."""
        return bool(self.user_ids or self.others)


_NOBODY: Final = Typing()


@dataclass(slots=True)
class _Told:
    """What somebody was told last, and when."""

    typing: Typing = _NOBODY
    at: float = 0.0


@dataclass(slots=True)
class _Report:
    """What a source told: until when each user types, and so many others."""

    users: dict[str, float] = field(default_factory=dict)
    others: int = 0
    until: float = 0.0


class _Room(Generic[Source]):
    """One room in which somebody types, or that was told so.

    Attributes:
        near: what this node's clients and proxies tell.
        far: what other nodes tell.
        to_followers: what those who follow the room were told.
        to_nodes: what other nodes were told.
    """

    __slots__ = ("_since", "far", "near", "to_followers", "to_nodes")

    def __init__(self) -> None:
        self.near: dict[Source, _Report] = {}
        self.far: dict[str, _Report] = {}
        self.to_followers = _Told()
        self.to_nodes = _Told()
        # Who types, in the order in which they began.
        self._since: dict[str, None] = {}

    def began(self, user_ids: Iterable[str]) -> None:
        """Notes that users type, perhaps for a while already."""
        for user_id in user_ids:
            self._since.setdefault(user_id)

    def expire(self, now: float) -> None:
        """Forgets those who have ceased."""
        _expire(self.near, now)
        _expire(self.far, now)
        types = _users(self.near) | _users(self.far)
        if len(types) < len(self._since):
            self._since = {user_id: None for user_id in self._since if user_id in types}

    def typing(self, *, near_only: bool = False) -> Typing:
        """Who types; with `near_only`, of this node's clients."""
        user_ids = list(self._since)
        others = sum(report.others for report in self.near.values())
        if near_only:
            near = _users(self.near)
            user_ids = [user_id for user_id in user_ids if user_id in near]
        else:
            others += sum(report.others for report in self.far.values())
        return Typing(tuple(user_ids[:MOST_TYPISTS]), max(len(user_ids) - MOST_TYPISTS, 0) + others)

    def ends(self) -> list[float]:
        """When each of those who type has ceased, if it says no more."""
        reports = [*self.near.values(), *self.far.values()]
        of_others = [report.until for report in reports if report.others]
        return [*of_others, *(until for report in reports for until in report.users.values())]


class TypingRooms(Generic[Source]):
    """Who types in which room.

    Args:
        hold: how long whoever has said so types, in seconds.
    """

    def __init__(self, hold: float = HOLD_SECONDS) -> None:
        self._hold = hold
        self._rooms: dict[str, _Room[Source]] = {}

    def __len__(self) -> int:
        """How many rooms somebody types in."""
        return len(self._rooms)

    def types(self, room_id: str, source: Source, user_id: str, now: float) -> None:
        """Notes that a user says, by its own stream, that it types."""
        room = self._room(room_id)
        report = room.near.setdefault(source, _Report())
        report.users[user_id] = now + self._hold
        room.began([user_id])

    def put(
        self, room_id: str, source: Source, user_ids: Collection[str], others: int, now: float
    ) -> None:
        """Replaces what a proxy told of its clients."""
        room = self._room(room_id)
        room.near[source] = self._report(user_ids, others, now)
        room.began(user_ids)

    def hear(
        self, room_id: str, node: str, user_ids: Collection[str], others: int, now: float
    ) -> None:
        """Replaces what another node told of its clients."""
        room = self._room(room_id)
        user_ids = list(user_ids)[:MOST_TYPISTS]
        room.far[node] = self._report(user_ids, others, now)
        room.began(user_ids)

    def leave(self, room_id: str, source: Source) -> bool:
        """Forgets what a source told of a room; returns whether it was anything."""
        room = self._rooms.get(room_id)
        return room is not None and room.near.pop(source, None) is not None

    def lose(self, node: str) -> list[str]:
        """Forgets another node; returns the rooms in which somebody typed there."""
        return [room_id for room_id, room in self._rooms.items() if room.far.pop(node, None)]

    def forget(self, room_id: str) -> None:
        """Forgets a room that nobody at this node is in any more."""
        self._rooms.pop(room_id, None)

    def now(self, room_id: str, now: float) -> Typing:
        """Who types in a room."""
        room = self._rooms.get(room_id)
        if room is None:
            return _NOBODY
        room.expire(now)
        return room.typing()

    def for_followers(self, room_id: str, now: float) -> Typing | None:
        """What is to be told to those who follow a room: it counts as told.

        Returns:
            `None` if they know it, and will for a while.
        """
        room = self._rooms.get(room_id)
        if room is None:
            return None
        room.expire(now)
        return self._due(room.to_followers, room.typing(), now)

    def for_nodes(self, room_id: str, now: float) -> Typing | None:
        """Likewise, of this node's clients, to other nodes."""
        room = self._rooms.get(room_id)
        if room is None:
            return None
        room.expire(now)
        return self._due(room.to_nodes, room.typing(near_only=True), now)

    def look_at(self, room_id: str, now: float) -> float | None:
        """When there may be something to tell, if nobody says anything until then.

        Returns:
            `None` if nobody types; all that was kept of the room is forgotten then.
        """
        room = self._rooms.get(room_id)
        if room is None:
            return None
        room.expire(now)
        ends = room.ends()
        if not ends:
            if not room.to_followers.typing and not room.to_nodes.typing:
                del self._rooms[room_id]
                return None
            return now
        # Those who were told hold it for as long as this node does from then on.
        known = [told.at for told in (room.to_followers, room.to_nodes) if told.typing]
        repeats = [at + self._hold / 2 for at in known if max(ends) > at + self._hold]
        return min([*ends, *repeats])

    def _due(self, told: _Told, typing: Typing, now: float) -> Typing | None:
        if typing == told.typing and (not typing or now - told.at < self._hold / 2):
            return None
        told.typing, told.at = typing, now
        return typing

    def _report(self, user_ids: Collection[str], others: int, now: float) -> _Report:
        until = now + self._hold
        return _Report(dict.fromkeys(user_ids, until), others, until)

    def _room(self, room_id: str) -> _Room[Source]:
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = _Room()
        return room


def _users(reports: dict[Source, _Report]) -> set[str]:
    return {user_id for report in reports.values() for user_id in report.users}


def _expire(reports: dict[Source, _Report], now: float) -> None:
    for source, report in list(reports.items()):
        report.users = {user: until for user, until in report.users.items() if until > now}
        if report.until <= now:
            report.others = 0
        if not report.users and not report.others:
            del reports[source]
