"""Who types is told: to the server, and to those who follow it. No I/O.

The server is told at once who types of this proxy's clients, and then once a second for a room
while somebody says so again or has ceased: it replaces what it was told before. What it tells
itself, of all proxies, goes to the followers as it comes, in rooms of at most `CROWD`: the server
has a pace. One for whom much waits is left out: it is told again soon anyway.
"""

import asyncio
from typing import Final

from gen.chat import RelayCommand, ServerFrame, Typists
from hosting.coalescing import Coalescer
from hosting.faults import Faults
from proxy.core import frames
from proxy.core.outlet import Outlet, Paces, nothing
from proxy.core.room import Room
from proxy.core.typists import TypingUsers
from proxy.metrics import ProxyMetrics

CROWD: Final = 200
"""In a room with more users or clients nobody is told who types."""
NAMED: Final = 5
"""So many who type are named."""


class TellingTypists:
    """Tells who types."""

    def __init__(self, outlet: Outlet, faults: Faults, metrics: ProxyMetrics, paces: Paces) -> None:
        self._outlet = outlet
        self._metrics = metrics
        self._hold = paces.hold
        # Who types in rooms where somebody does, and when the next one ceases.
        self._typists: dict[Room, TypingUsers] = {}
        self._ends: dict[Room, asyncio.TimerHandle] = {}
        self._paced: Coalescer[Room, None] = Coalescer(
            self._tell, nothing, lambda _: paces.server, faults
        )

    def types(self, room: Room, user_id: str) -> None:
        """Notes that a client says that a user types."""
        if self._outlet.takes(room) and not _is_crowded(room):
            self._metrics.typing += 1
            typists = self._typists.get(room)
            if typists is None:
                typists = self._typists[room] = TypingUsers(self._hold)
            typists.add(user_id, asyncio.get_running_loop().time())
            self._paced.add(room, None)

    def show(self, room: Room, typists: Typists) -> None:
        """Shows followers who types, as the server tells."""
        followers = room.followers.typing
        if followers and not _is_crowded(room):
            frame = frames.encode(ServerFrame(typists=typists))
            skipped = sum(not client.write_news(frame) for client in followers)
            self._metrics.people_deliveries["typists"] += len(followers) - skipped
            self._metrics.people_skipped["typists"] += skipped

    def forget(self, room: Room) -> None:
        """Notes that nobody needs a room."""
        self._all_ceased(room)
        self._paced.discard(room)

    def _tell(self, room: Room, _: None) -> None:
        typists = self._typists.get(room)
        if typists is None:
            return
        names = typists.names(asyncio.get_running_loop().time())
        if self._outlet.takes(room):
            told = Typists(room.room_id, names[:NAMED], max(len(names) - NAMED, 0))
            self._outlet.put(RelayCommand(typists=told), told.user_ids)
        self._watch(room, typists)

    def _watch(self, room: Room, typists: TypingUsers) -> None:
        """Sees to it that the server is told when the next one ceases."""
        end = typists.end()
        if end is None:
            self._all_ceased(room)
        elif room not in self._ends:
            self._ends[room] = asyncio.get_running_loop().call_at(end, self._look_at, room)

    def _look_at(self, room: Room) -> None:
        del self._ends[room]
        typists = self._typists[room]
        before = len(typists)
        if len(typists.names(asyncio.get_running_loop().time())) < before:
            self._paced.add(room, None)
        # Else it has said so again.
        elif room not in self._ends:
            self._watch(room, typists)

    def _all_ceased(self, room: Room) -> None:
        self._typists.pop(room, None)
        end = self._ends.pop(room, None)
        if end is not None:
            end.cancel()


def _is_crowded(room: Room) -> bool:
    return len(room.members) > CROWD or room.attendance.count() > CROWD
