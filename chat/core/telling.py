"""What is told of rooms beside their messages, to members who follow it.

Changes. The store tells of each commit; a room's followers are told at most four times a second
what changed since, and less often where they are hundreds. The first change of a quiet room goes
out at once (`hosting.coalescing`). So a follower has been told all up to `Room.told_change`, and
what waits begins there. Whoever enters while something waits has read at least that far (see
`joining`), and is told it like the others: what it has already does no harm, since a change is
told as the state that a message has now. Whoever has read beyond all that waited is not told it
again (`Following.change`).

What waits is told sooner if it is so large that it could fill a mailbox.

Reads, of everybody, are told once a second, and only where few are: in a room of thousands they
would be a storm that tells nobody anything. A user's own marks are told at once, to each of its
streams; how often they may move is the business of the call that moves them.
"""

from collections.abc import Iterator
from typing import Final

from chat.core.encoded import Notice
from chat.core.membership import Followers
from chat.core.presence import Presence
from chat.core.rooms import Rooms
from chat.core.spans import FRAME_BYTES, Span
from chat.core.stream import LiveStream
from chat.metrics import ServerMetrics
from chat.storage.listener import UserMark
from chat.storage.rooms import room_of
from gen.chat import Reads, RoomChanges
from hosting.coalescing import Coalescer, interval_of
from hosting.faults import Faults

CHANGES_SECONDS: Final = 0.25
"""How long after a few followers of a room were told what changed they are told the next."""

READS_SECONDS: Final = 1.0
"""How long after members of a room were told who has read they are told the next."""

MOST_READERS: Final = 100
"""In rooms with more members nobody is told how far others have read."""


class Telling:
    """Tells followers of rooms.

    Args:
        rooms: their followers.
        presence: who speaks for whom.
        metrics: counts what is told.
        faults: logs failures: each costs one stream what was to be told to it.
    """

    def __init__(
        self,
        rooms: Rooms[LiveStream],
        presence: Presence[LiveStream],
        metrics: ServerMetrics,
        faults: Faults,
    ) -> None:
        self._rooms = rooms
        self._presence = presence
        self._metrics = metrics
        self._faults = faults
        self._changes: Coalescer[str, Span] = Coalescer(
            self._tell_changes, Span.extend, self._pause, faults
        )
        self._reads: Coalescer[str, dict[str, int]] = Coalescer(
            self._tell_reads, _later, lambda _: READS_SECONDS, faults
        )

    def changed(self, changes: RoomChanges) -> None:
        """Tells what changed in a room, now or soon."""
        room_id = changes.room_id
        room = self._rooms.get(room_id)
        if room is None or not room.hear(changes):
            return
        self._metrics.changes += len(changes.messages) + (room_of(changes) is not None)
        self._changes.add(room_id, Span(changes))
        waiting = self._changes.waiting(room_id)
        if waiting is not None and waiting.size > FRAME_BYTES:
            self._changes.flush(room_id)

    def marked(self, moved: UserMark) -> None:
        """Tells how far a user has read: itself now, and others soon."""
        user_id, mark = moved
        room = self._rooms.get(mark.room_id)
        if room is None or room.followers is None:
            return
        notice = Notice.of_mark(user_id, mark)
        for member in self._speaking_for(user_id, room.followers):
            self._tell(member, notice, mark.room_id)
        if room.followers.readers and len(room.members) <= MOST_READERS:
            self._reads.add(mark.room_id, {user_id: mark.seq})

    def forget(self, room_id: str) -> None:
        """Drops what waits: nobody is in the room, or its history is another one."""
        self._changes.discard(room_id)
        self._reads.discard(room_id)

    def _pause(self, room_id: str) -> float:
        room = self._rooms.get(room_id)
        followers = 0 if room is None or room.followers is None else len(room.followers)
        return interval_of(followers, CHANGES_SECONDS)

    def _tell_changes(self, room_id: str, span: Span) -> None:
        room = self._rooms.get(room_id)
        if room is None:
            return
        room.told_change = span.last_change
        if room.followers is None:
            return
        notices = [Notice.of_changes(frame) for frame in span.frames()]
        for member, stay in room.followers:
            if stay.changes and stay.change < span.last_change:
                stay.change = span.last_change
                if not all(self._tell(member, notice, room_id) for notice in notices):
                    # The next changes do not follow on those that it has.
                    member.renewed(room_id, room.head.seq)

    def _tell_reads(self, room_id: str, seqs: dict[str, int]) -> None:
        room = self._rooms.get(room_id)
        if room is None or room.followers is None:
            return
        # A proxy is one member, and has many users.
        if max(len(room.members), len(seqs)) > MOST_READERS:
            return
        notice = Notice.of_reads(Reads(room_id, list(seqs), list(seqs.values())))
        for member, stay in room.followers:
            if stay.reads:
                self._tell(member, notice, room_id)

    def _speaking_for(self, user_id: str, followers: Followers[LiveStream]) -> Iterator[LiveStream]:
        asked = dict.fromkeys(followers.of_user(user_id))
        yield from asked
        for stream in self._presence.connections_of(user_id):
            if stream in followers and stream not in asked:
                yield stream

    def _tell(self, member: LiveStream, notice: Notice, room_id: str) -> bool:
        try:
            member.tell(notice)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("notice failed", error, room_id=room_id)
            return False
        self._metrics.notices += 1
        return True


def _later(earlier: dict[str, int], later: dict[str, int]) -> dict[str, int]:
    earlier.update(later)
    return earlier
