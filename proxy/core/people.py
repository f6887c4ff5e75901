"""Who is in rooms, and who types there: no I/O.

::

    clients              people                    server
    -------              ------                    ------
    entered, left,  -->  presence  attendance -->  room_presence
    sent                                      <--  room_presence, wanted
    types           -->  typists   typists    -->  typists
                                              <--  typists

Both are states that replace each other, told while the server knows of it: one of before does not,
and then clients are told nothing. A frame is made once for all that get it; one for whom much waits
is not closed because of it, but left out.
"""

from collections.abc import Iterable

from gen.chat import Join, RoomPresence, Typists, Wanted
from hosting.faults import Faults
from proxy.core.client import Client
from proxy.core.outbox import Outbox
from proxy.core.outlet import Outlet, Paces
from proxy.core.room import Room
from proxy.core.telling_presence import TellingPresence
from proxy.core.telling_typists import TellingTypists
from proxy.metrics import ProxyMetrics

Told = Typists | RoomPresence | Wanted
"""What the server tells of people."""


class People:
    """Who is there and who types."""

    def __init__(
        self, outbox: Outbox, faults: Faults, metrics: ProxyMetrics, paces: Paces | None = None
    ) -> None:
        self._outlet = Outlet(outbox)
        paces = paces or Paces()
        self._typists = TellingTypists(self._outlet, faults, metrics, paces)
        self._presence = TellingPresence(self._outlet, faults, metrics, paces)

    # Clients.

    def entered(self, client: Client, room: Room, join: Join) -> None:
        """Notes that a client has joined a room; shows it who is there, if it follows that."""
        self._presence.entered(client, room, join)

    def sent(self, client: Client, room: Room, user_id: str) -> None:
        """Notes that a message of a member was stored: it is there for the sender."""
        self._presence.is_there(client, room, user_id)

    def left(self, client: Client, room: Room) -> None:
        """Notes that a client is not in a room any more."""
        self._presence.left(client, room)

    def types(self, room: Room, user_id: str) -> None:
        """Notes that a client says that a user types."""
        self._typists.types(room, user_id)

    def forget(self, room: Room) -> None:
        """Notes that nobody needs a room."""
        # What the server tells of it may be on its way here still.
        room.has_people = False
        self._typists.forget(room)
        self._presence.forget(room)

    # The link.

    def connected(self, *, at_once: bool) -> None:
        """Notes that there is a new link; it is told of each room when that is live.

        Args:
            at_once: if not, that waits for `proven`: such a command may have ended links.
        """
        self._outlet.silent = not at_once

    def proven(self, rooms: Iterable[Room]) -> None:
        """Tells what had to wait until the link was proven."""
        if self._outlet.silent:
            self._outlet.silent = False
            for room in rooms:
                self._presence.tell_again(room)

    def joined(self, room: Room) -> None:
        """Notes that a room is live."""
        self._presence.joined(room)

    def hear(self, room: Room, told: Told) -> None:
        """Takes what the server tells of a room."""
        match told:
            case Typists():
                self._typists.show(room, told)
            case RoomPresence():
                self._presence.told(room, told)
            case Wanted():
                self._presence.wanted(room, told)
