"""Who is in a room, of this proxy's clients and of all: pure, with the time from outside.

A user is here for whom a client is in the room: the one that its `join` named, or the subject of
its token; and those as whom it has sent to the room. Clients that name nobody count for nothing.

What followers are shown is put together of three:

========  =====================================================================================
*told*    what the server has told on this link, of all proxies
*own*     the users of this proxy's own clients: nobody misses oneself, although the server tells
          of who has come only a while later; but for odd ids, which it may not tell at all
*kept*    what was told on a link before, until `KEEP_SECONDS` after the room is live on the next
          one: nobody seems to go because a server was restarted, whose proxies come back one by
          one. Further links do not make that longer
========  =====================================================================================

A user who goes is *told* until the server has waited for its return: the proxy does not wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from heapq import nsmallest
from typing import Final

from gen.chat import RoomPresence
from proxy.core.client import Client
from proxy.core.user_ids import is_plain

KEEP_SECONDS: Final = 15.0
"""So long what was told before a link was lost is shown beside what the next one tells."""
NAMED: Final = 50
"""Of more users followers are told the number alone."""
MOST_NAMES: Final = 500
"""The server is told so many names at most."""
MOST_OF_CLIENT: Final = 100
"""One client is there for so many users at most."""

# The same in characters: an id may be longer than usual.
_MOST_CHARACTERS: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """What followers are told.

    Attributes:
        count: how many users.
        user_ids: who, in order; nobody if they are more than `NAMED`.
    """

    count: int
    user_ids: tuple[str, ...]


class Attendance:
    """The users of one room.

    Attributes:
        users: the users that each client is there for; of those that are for none, nothing.
        wanted: whether the server asks for names; as long as the link.
        last: what all followers were shown last; `None` if some were shown more since.
    """

    __slots__ = ("_kept", "_lost", "_own", "_sent", "_told", "last", "users", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        self.last: Shown | None = None
        # The number of clients for each user.
        self._own: dict[str, int] = {}
        self.users: dict[Client, set[str]] = {}
        self._told: Shown | None = None
        # What was told on a link that is lost, and the room is not live on another one; and what
        # was told before, each with the time at which it is let go.
        self._lost: Shown | None = None
        self._kept: list[tuple[float, Shown]] = []
        # What the server knows of this proxy; `None` if it is to be told in any case.
        self._sent: Shown | None = Shown(0, ())

    def __bool__(self) -> bool:
        """Whether any user of this proxy is here."""
        return bool(self._own)

    # Clients come and go.

    def add(self, client: Client, user_id: str) -> bool:
        """Notes that a client in the room is there for a user.

        Returns:
            Whether the user was not there before.
        """
        users = self.users.get(client)
        if users is None:
            users = self.users[client] = set()
        elif user_id in users or len(users) >= MOST_OF_CLIENT:
            return False
        users.add(user_id)
        self._own[user_id] = self._own.get(user_id, 0) + 1
        return self._own[user_id] == 1

    def discard(self, client: Client) -> bool:
        """Notes that a client is not in the room; returns whether a user has gone with it."""
        gone = False
        for user_id in self.users.pop(client, ()):
            left = self._own[user_id] - 1
            if left:
                self._own[user_id] = left
            else:
                del self._own[user_id]
                gone = True
        return gone

    # The server.

    def want(self, *, presence: bool) -> None:
        """Notes whether the server asks for names; if so, it is to be told at once."""
        self.wanted = presence
        if presence:
            self._sent = None

    def news(self, room_id: str) -> RoomPresence | None:
        """Returns what the server is to be told; `None` if it knows that."""
        names = tuple(self._names()) if self.wanted else ()
        now = Shown(len(self._own), names)
        if now == self._sent:
            return None
        self._sent = now
        return RoomPresence(room_id, now.count, list(names))

    def tell(self, presence: RoomPresence) -> None:
        """Notes what the server tells."""
        self._told = Shown(presence.count, tuple(presence.user_ids[:NAMED]))

    def link_lost(self) -> None:
        """Notes that the server tells nothing more, and forgets what it was told."""
        self._lost, self._told = _united(self._told, self._lost), None
        self._sent, self.wanted = Shown(0, ()), False

    def joined(self, now: float, keep: float = KEEP_SECONDS) -> bool:
        """Notes that the room is live on a new link; returns whether to `let_go` at the end.

        Args:
            now: the time, in seconds.
            keep: after how many seconds that is.
        """
        if self._lost is None:
            return False
        self._kept.append((now + keep, self._lost))
        self._lost = None
        return True

    def let_go(self, now: float) -> None:
        """Forgets what was told on links before for which it is time."""
        self._kept = [each for each in self._kept if each[0] > now]

    # Followers.

    def count(self) -> int:
        """Returns how many users there are, as far as that is known."""
        known = self._known()
        return max(len(self._own), 0 if known is None else known.count)

    def shown(self) -> Shown | None:
        """Returns what followers are to be shown; `None` if the server has told nothing yet."""
        known = self._known()
        if known is None:
            return None
        if len(self._own) > NAMED:
            return Shown(max(known.count, len(self._own)), ())
        # The server knows which ids there may be; of one that looks odd it is to say so first.
        own = tuple(filter(is_plain, self._own))
        return _united(known, Shown(len(own), own))

    def changed(self) -> Shown | None:
        """Returns what followers are to be shown if that is new to some of them; notes it."""
        shown = self.shown()
        if shown is None or shown == self.last:
            return None
        self.last = shown
        return shown

    def first(self, *, alone: bool) -> Shown | None:
        """Returns what one is to be shown who begins to follow.

        Args:
            alone: whether nobody else follows.
        """
        shown = self.shown()
        if shown != self.last:
            # It may have gone again before the server tells of it to the others.
            self.last = shown if alone else None
        return shown

    def _known(self) -> Shown | None:
        kept = (shown for _, shown in self._kept)
        return reduce(_united, kept, _united(self._told, self._lost))

    def _names(self) -> Iterator[str]:
        size = 0
        for user_id in nsmallest(MOST_NAMES, self._own):
            size += len(user_id)
            if size > _MOST_CHARACTERS:
                break
            yield user_id


def _united(one: Shown | None, other: Shown | None) -> Shown | None:
    """Returns all who are in either; of many the larger number."""
    if one is None or other is None:
        return one or other
    count = max(one.count, other.count)
    if count <= NAMED:
        names = sorted({*one.user_ids, *other.user_ids})
        count = max(count, len(names))
        if count <= NAMED:
            return Shown(count, tuple(names))
    return Shown(count, ())
