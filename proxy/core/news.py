"""What members of a room are told beside its messages: no I/O.

=========  =====================================================  =============================
told       to                                                     how often
=========  =====================================================  =============================
`changes`  followers of the room's changes                        as it comes: the server lets
                                                                  several go together; above
                                                                  `SOME` followers less often
`reads`    followers of the room's reads, while there are at      as it comes
           most `FEW` members
`mark`     followers of anything in the room that speak for its   as it comes
           user: by their token, by having sent, or by `join`
=========  =====================================================  =============================

A frame is made once for all that get it. A client that enters while changes wait for the end of
an interval gets them as well: it has them already, which does no harm, since of two states of a
message the one with the larger number holds.
"""

from collections.abc import Iterable
from typing import Final

from gen.chat import Joined, Mark, Reads, RoomChanges, ServerFrame, ToUser
from hosting.coalescing import Coalescer, interval_of
from hosting.faults import Faults
from proxy.core import frames
from proxy.core.changes import merged
from proxy.core.client import Client
from proxy.core.presence import Presence
from proxy.core.room import Room
from proxy.core.rooms import Rooms
from proxy.metrics import ProxyMetrics

SOME: Final = 250
"""With more followers in a room, its changes are told less often than the server tells of them."""
FEW: Final = 100
"""With more members in a room, they are not told how far the others have read."""

# So much, in characters, is told sooner: it could fill the socket of a client.
_MOST: Final = 256 * 1024
# A change beside its text, and a kind of reaction beside its names, in characters of JSON.
_CHANGE: Final = 256
_KIND: Final = 64
_NAME: Final = 3


class News:
    """Tells followers."""

    def __init__(
        self, rooms: Rooms, presence: Presence, faults: Faults, metrics: ProxyMetrics
    ) -> None:
        self._rooms = rooms
        self._presence = presence
        self._faults = faults
        self._metrics = metrics
        self._paced: Coalescer[Room, RoomChanges] = Coalescer(
            self._tell_changes, merged, _pause, faults
        )

    def changed(self, room: Room, changes: RoomChanges) -> None:
        """Tells the followers of a room what changed, now or within a second."""
        self._metrics.changed += len(changes.messages)
        if self._paced or _pause(room):
            self._paced.add(room, changes)
            waiting = self._paced.waiting(room)
            if waiting is not None and _size_of(waiting) > _MOST:
                self._paced.flush(room)
        else:
            self._tell_changes(room, changes)
        room.note_delivered()

    def read(self, reads: Reads) -> None:
        """Tells the followers of a room how far others have read it."""
        room = self._rooms.get(reads.room_id)
        if room is not None and room.followers.reads and len(room.members) <= FEW:
            self._write(room.followers.reads, ServerFrame(reads=reads))

    def marked(self, to_user: ToUser) -> None:
        """Tells a user how far it has read a room."""
        mark = to_user.payload
        room = self._rooms.get(mark.room_id) if isinstance(mark, Mark) else None
        if room is not None:
            senders = self._presence.clients_of(to_user.user_id)
            clients = tuple(room.followers.speaking_for(to_user.user_id, senders))
            if clients:
                self._write(clients, ServerFrame(mark=mark))

    def lost(self, room: Room, *, changes_alone: bool = False) -> None:
        """Tells of a gap between what members have and what they will get.

        Args:
            room: the room.
            changes_alone: whether the gap is in its changes, and messages go on.
        """
        self._paced.discard(room)
        told = Joined(room.room_id, room.epoch, room.last_seq, recovered=False)
        followers = room.followers.changes
        if not changes_alone:
            self._write(
                (each for each in room.members if each not in followers), ServerFrame(joined=told)
            )
        if followers:
            told.last_change = room.last_change
            self._write(followers, ServerFrame(joined=told))

    def _tell_changes(self, room: Room, changes: RoomChanges) -> None:
        followers = room.followers.changes
        if not followers:
            return
        try:
            self._write(followers, ServerFrame(changes=changes))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this room alone
            self._faults.log("changes not delivered", error)
            self.lost(room, changes_alone=True)
        else:
            self._metrics.change_deliveries += len(followers)

    def _write(self, clients: Iterable[Client], frame: ServerFrame) -> None:
        data = frames.encode(frame)
        for client in clients:
            client.write(data)


def _pause(room: Room) -> float:
    followers = len(room.followers.changes)
    return interval_of(followers, 0.0) if followers > SOME else 0.0


def _size_of(changes: RoomChanges) -> int:
    size = _CHANGE * len(changes.messages)
    for each in changes.messages:
        size += len(each.content or "")
        for reaction in each.state.reactions:
            size += _KIND + sum(map(len, reaction.user_ids)) + _NAME * len(reaction.user_ids)
    return size
