"""How a stream enters a room: the seam between what it missed and what is live.

A stream that joins after position 40 must get 41, 42, … each once, first from the history, then
live, while new ones are announced at any time. One that follows changes after change 7 must get
8, 9, … likewise: but never a change of a message that it does not have. It gets no lock and no
copy of them; it relies on the turns of the event loop:

1. `Rooms.pinned` keeps the room while the stream is not yet a member. Its heads go up with each
   announced message and change (`last_seq`, `last_change`), whether anybody is in it or not.
2. The room is followed, if nobody has done so: that gives its heads. They may be of a message
   or a change that is not announced yet; for an empty room they are its last ones, and the later
   announcement reaches nobody. If members came meanwhile, theirs hold (`Room.learn`).
3. The answer tells them, and whether what was missed is replayed.
4. Pages are put into the mailbox until the cursor is at the heads, which may rise with every
   await: first of changes, of messages up to the cursor's `seq`; then of messages, which come as
   they stand, and so with all changes that were announced before the page was read. A change
   of a message behind the cursor is left out: its message is read later, and shows it.
5. In the turn in which the loop finds nothing missing, without an await in between, the
   stream becomes a member (`Room.enter`). Each message up to `last_seq` was replayed; each one
   behind it is announced in a later turn, to members.

Of changes nothing is missing once the cursor is at `told_change`: what was heard of behind that
waits to be told to all followers together (`telling`), and the stream will be one of them. It
may have some of it already, which does no harm. So a storm of changes holds nobody up: the goal
moves four times a second at most. What the answer told of is replayed in any case.

Pages of changes are read to their end. A message that was edited, and changed again behind the end
of a page, is on a later page: the text would be missing if the stream went on from the first.

The cursor never passes `last_change`. A page may have changes that are not announced yet, of
messages that are not announced yet either: those messages are delivered without them, so the
changes are still to come. The others are told with the page: a client may have a newer state of
a message than its position says.

A replay waits while the mailbox is half full (`wait_writable`), so it may be longer than the
mailbox. Messages and changes are announced after they can be read (see `storage.base`), so a
page that lacks an announced one is a defect.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from chat.core.encoded import Notice
from chat.core.membership import Following, Membership
from chat.core.names import id_fault
from chat.core.rooms import Room, Rooms
from chat.core.spans import Span
from chat.core.stream import LiveStream
from chat.errors import InvalidArgument, Unavailable
from chat.metrics import ServerMetrics
from chat.storage.base import Range, Store, StoreError
from chat.storage.listener import Head
from chat.storage.rooms import room_of
from gen.chat import ChatMessage, Join, Joined, RoomChanges
from hosting.logs import get_logger

log = get_logger(__name__)

_REPLAY_PAGE: Final = 500

Answer = Callable[[Joined], None]
Replay = Callable[[ChatMessage], None]


class Joining:
    """Puts streams into rooms.

    Args:
        store: has what they missed.
        rooms: the rooms.
        metrics: counts joins.
    """

    def __init__(self, store: Store, rooms: Rooms[LiveStream], metrics: ServerMetrics) -> None:
        self._store = store
        self._rooms = rooms
        self._metrics = metrics

    async def enter(self, stream: LiveStream, room_id: str) -> None:
        """Puts a stream into a room, from now on, and lets it follow messages alone."""
        with self._rooms.pinned(room_id) as room:
            await self._learn(room_id, room)
            _enter(stream, room_id, room, Membership())

    async def join(
        self,
        stream: LiveStream,
        join: Join,
        stay: Membership,
        *,
        answer: Answer,
        replay: Replay,
        limit: int | None,
    ) -> None:
        """Puts a stream into a room that it is not in; see `Hub.join`."""
        room_id = join.room_id
        with self._rooms.pinned(room_id) as room:
            await self._learn(room_id, room)
            if _is_ahead(join, room.head):
                await self._catch_up(room_id)
            if not room.head.seq and (fault := id_fault(room_id)):
                raise InvalidArgument("join.room_id", fault)
            is_bounded = await self._changed_few(join, room, limit)
            # From here on in one turn: what is answered is what is replayed from.
            epoch, head = self._store.epoch, room.head
            recovered = is_bounded and _can_replay(join, epoch, head, limit)
            last_change = head.change if _follows_changes(stay) else None
            answer(Joined(room_id, epoch, head.seq, recovered, last_change))
            self._metrics.joined(asked=join.after_seq is not None, recovered=recovered)
            change = head.change
            if recovered:
                missed = _Missed(self._store, self._metrics, stream, room, join, head, stay)
                change = await missed.replay(replay)
            if isinstance(stay, Following):
                stay.change = change
            _enter(stream, room_id, room, stay)
            if epoch != self._store.epoch:
                stream.renewed(room_id, room.head.seq)

    async def _changed_few(self, join: Join, room: Room[LiveStream], limit: int | None) -> bool:
        """Whether so few messages changed that they may be replayed."""
        after_change = join.after_change
        if limit is None or after_change is None or room.head.change - after_change <= limit:
            return True
        with _readable("changes unreadable", join.room_id):
            count = await self._store.count_changes(join.room_id, after_change, limit + 1)
        return count <= limit

    async def _learn(self, room_id: str, room: Room[LiveStream]) -> None:
        if not room.is_known:
            with _readable("head unreadable", room_id):
                room.learn(await self._store.follow(room_id))

    async def _catch_up(self, room_id: str) -> None:
        """Waits for what other nodes stored: one of them may have brought it to the client."""
        with _readable("head unreadable", room_id):
            await self._store.catch_up(room_id)


class _Missed:
    """What a stream missed.

    Args:
        head: what the answer to the join told.
        stay: whether changes are replayed, too.
    """

    def __init__(
        self,
        store: Store,
        metrics: ServerMetrics,
        stream: LiveStream,
        room: Room[LiveStream],
        join: Join,
        head: Head,
        stay: Membership,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._stream = stream
        self._room = room
        self._room_id = join.room_id
        self._head = head
        self._follows = _follows_changes(stay)
        # How far the stream has come.
        self._seq = join.after_seq or 0
        # Without a position nothing was missed of what was before the answer.
        self._change = head.change if join.after_change is None else join.after_change
        # Behind which change the next page begins, if more of this reading is to come.
        self._page_end: int | None = None

    async def replay(self, replay: Replay) -> int:
        """Replays it all; the caller enters in the turn in which this returns.

        Returns:
            Up to which change the stream was told all.
        """
        epoch = self._store.epoch
        while epoch == self._store.epoch:
            if self._page_end is not None or (self._follows and self._change < self._goal):
                await self._replay_changes(epoch)
            elif self._seq < self._room.head.seq:
                await self._replay_messages(epoch, replay)
            else:
                return self._change
        return self._room.head.change  # what was read is of another history

    @property
    def _goal(self) -> int:
        return max(self._head.change, self._room.told_change)

    async def _replay_messages(self, epoch: str, replay: Replay) -> None:
        room_id, last_seq = self._room_id, self._room.head.seq
        span = Range(_REPLAY_PAGE, before_seq=last_seq + 1, after_seq=self._seq)
        with _readable("history unreadable", room_id):
            page = await self._store.history(room_id, span)
        if epoch != self._store.epoch:
            return
        if not page.messages:
            raise AssertionError("the store announced a message that it cannot find")
        for message in page.messages:
            await self._stream.wait_writable()
            replay(message)
        self._metrics.replayed += len(page.messages)
        self._seq = page.messages[-1].seq

    async def _replay_changes(self, epoch: str) -> None:
        room_id = self._room_id
        begin = self._change if self._page_end is None else self._page_end
        with _readable("changes unreadable", room_id):
            page = await self._store.changes(room_id, begin, _REPLAY_PAGE)
        if epoch != self._store.epoch:
            return
        end = page.changes.last_change
        if end <= begin:
            raise AssertionError("the store announced a change that it cannot find")
        self._page_end = end if page.has_more else None
        after, self._change = self._change, min(end, self._room.head.change)
        messages = [each for each in page.changes.messages if each.seq <= self._seq]
        room = room_of(page.changes)
        for frame in Span(RoomChanges(room_id, after, self._change, messages, room)).frames():
            await self._stream.wait_writable()
            self._stream.tell(Notice.of_changes(frame))
        self._metrics.replayed_changes += len(messages) + (room is not None)


def _follows_changes(stay: Membership) -> bool:
    return isinstance(stay, Following) and stay.changes


def _is_ahead(join: Join, head: Head) -> bool:
    return (join.after_seq or 0) > head.seq or (join.after_change or 0) > head.change


def _can_replay(join: Join, epoch: str, head: Head, limit: int | None) -> bool:
    after_seq = join.after_seq
    if after_seq is None or _is_ahead(join, head):
        return False
    if join.epoch is not None and join.epoch != epoch:
        return False
    return limit is None or head.seq - after_seq <= limit


def _enter(stream: LiveStream, room_id: str, room: Room[LiveStream], stay: Membership) -> None:
    room.enter(stream, stay)
    stream.rooms[room_id] = stay


@contextmanager
def _readable(event: str, room_id: str) -> Iterator[None]:
    """Turns a failure of the store into what a caller is told.

    Raises:
        Unavailable: the history could not be read.
    """
    try:
        yield
    except StoreError as error:
        log.exception(event, room_id=room_id)
        raise Unavailable("the history could not be read") from error
