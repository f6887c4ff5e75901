"""Who is in rooms is told: to the server, and to those who follow it. No I/O.

The server is told how many users this proxy's clients are there for, and who they are while it
wants to know that: when it changed, once a second at most for a room, and at once if it asks.

Followers are told what the server tells, united with what `Attendance` knows beside that, as it
comes: the server has a pace. One who enters is told at once what is known. One for whom much waits
is left out, and tried again a while later.
"""

import asyncio
from collections.abc import Iterable

from gen.chat import Join, RelayCommand, RoomPresence, ServerFrame, Wanted
from hosting.coalescing import Coalescer
from hosting.faults import Faults
from proxy.core import frames
from proxy.core.attendance import Attendance, Shown
from proxy.core.client import Client
from proxy.core.outlet import Outlet, Paces, nothing
from proxy.core.room import Room
from proxy.metrics import ProxyMetrics


class TellingPresence:
    """Knows and tells who is there."""

    def __init__(self, outlet: Outlet, faults: Faults, metrics: ProxyMetrics, paces: Paces) -> None:
        self._outlet = outlet
        self._faults = faults
        self._metrics = metrics
        self._paces = paces
        self._paced: Coalescer[Room, None] = Coalescer(
            self._tell, nothing, lambda _: paces.server, faults
        )
        self._gone: Coalescer[Room, None] = Coalescer(
            lambda room, _: self._show(room), nothing, lambda _: paces.followers, faults
        )
        # Clients that were left out, and when they are tried again.
        self._late: dict[Room, dict[Client, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    # Clients.

    def entered(self, client: Client, room: Room, join: Join) -> None:
        """Notes that a client has joined a room; shows it who is there, if it follows that."""
        user_id = join.user_id if client.caller is None else client.caller.user_id
        if user_id:
            self.is_there(client, room, user_id)
        followers = room.followers.presence
        if client in followers:
            shown = room.attendance.first(alone=len(followers) == 1)
            if shown is not None:
                self._write(room, shown, (client,))

    def is_there(self, client: Client, room: Room, user_id: str) -> None:
        """Notes that a client is there for a user, perhaps not for the first time.

        Nothing happens if it has left: what it sent may be stored later.
        """
        if client in room.members and room.attendance.add(client, user_id):
            self._paced.add(room, None)

    def left(self, client: Client, room: Room) -> None:
        """Notes that a client is not in a room any more."""
        if room.attendance.discard(client):
            self._paced.add(room, None)
            if room.followers.presence:
                # It may have been shown to some although the server never heard of it. If it
                # did, it is about to tell so, and for how long: nobody seems to go before.
                loop = asyncio.get_running_loop()
                loop.call_later(self._paces.gone, self._gone.add, room, None)

    def forget(self, room: Room) -> None:
        """Notes that nobody needs a room."""
        self._paced.discard(room)
        self._gone.discard(room)
        self._late.pop(room, None)
        # A timer may know it still.
        room.attendance = Attendance()

    # The server.

    def joined(self, room: Room) -> None:
        """Notes that a room is live: the server is told, and what it told before is kept."""
        loop = asyncio.get_running_loop()
        now, keep = loop.time(), self._paces.keep
        if room.attendance.joined(now, keep):
            # The very time for which it was noted: the clock may say a bit less by then.
            loop.call_later(keep, self._let_go, room, now + keep)
        self.tell_again(room)

    def tell_again(self, room: Room) -> None:
        """Tells a server that knows of nobody in a room who is there."""
        if room.attendance:
            self._paced.add(room, None)

    def wanted(self, room: Room, wanted: Wanted) -> None:
        """Notes whether the server wants names; if so, it waits for them."""
        room.attendance.want(presence=wanted.presence)
        if wanted.presence:
            # Without a pause behind it: often the first client is just about to enter.
            self._tell(room, None)

    def told(self, room: Room, presence: RoomPresence) -> None:
        """Shows followers who is there, as the server tells."""
        room.attendance.tell(presence)
        self._show(room)

    # Telling.

    def _tell(self, room: Room, _: None) -> None:
        news = room.attendance.news(room.room_id) if self._outlet.takes(room) else None
        if news is not None:
            self._outlet.put(RelayCommand(room_presence=news), news.user_ids)

    def _let_go(self, room: Room, now: float) -> None:
        room.attendance.let_go(now)
        self._show(room)

    def _show(self, room: Room) -> None:
        """Shows all followers who is there, if that is new to any."""
        followers = room.followers.presence
        shown = room.attendance.changed() if followers else None
        if shown is not None:
            self._write(room, shown, tuple(followers))

    def _write(self, room: Room, shown: Shown, clients: Iterable[Client]) -> None:
        told = RoomPresence(room.room_id, shown.count, list(shown.user_ids))
        frame = frames.encode(ServerFrame(room_presence=told))
        late = self._late.get(room, {})
        for client in clients:
            if client.write_news(frame):
                self._metrics.people_deliveries["room_presence"] += 1
                late.pop(client, None)
            else:
                self._metrics.people_skipped["room_presence"] += 1
                late[client] = None
        if late:
            self._late[room] = late
            self._try_later()
        else:
            self._late.pop(room, None)

    def _try_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._paces.late, self._try_again)

    def _try_again(self) -> None:
        """Shows who is there to those that were left out."""
        self._timer = None
        late, self._late = self._late, {}
        for room, clients in late.items():
            still = [client for client in clients if client in room.followers.presence]
            shown = room.attendance.shown() if still else None
            if shown is None:
                continue
            try:
                self._write(room, shown, still)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this room alone
                self._faults.log("presence not told", error)
