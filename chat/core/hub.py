"""The heart of the server: streams, rooms, users and the store brought together.

The life of a message here: `send` hands it to the store; the store's writer
gives it its position in the room and puts it on disk; `announce` hears of it and
delivers it to each stream in the room.

The seam between replay and live. A stream that joins after position 40 must get 41, 42, …
each once, first from the history, then live, while new ones are announced at any time. It
gets no lock and no copy of them; it relies on the turns of the event loop:

1. `Rooms.pinned` keeps the room while the stream is not yet a member. Its `last_seq` goes up
   with each announced message, whether anybody is in the room or not.
2. The room is followed, if nobody has done so: that gives its `last_seq`. It may be of a message
   that is not announced yet; for an empty room that is its last one, and the later announcement
   of it reaches nobody. If members came meanwhile, theirs holds (`set_last_seq_if_unknown`).
3. The answer tells it, and whether the missed messages are replayed.
4. Pages of the history are put into the mailbox until the cursor is at `last_seq`, which may
   rise with every await.
5. In the turn in which the loop finds nothing missing, without an await in between, the
   stream becomes a member (`_add_member`). Each message up to `last_seq` was replayed; each one
   behind it is announced in a later turn, to members.

A replay waits while the mailbox is half full (`wait_writable`), so it may be longer than the
mailbox. Messages are announced after the history can be read (see `storage.base`), so a
page that lacks an announced message is a defect.

Another epoch. The store may learn that messages were lost. `renew` then tells each member from
where on the room has another history; whoever is in the middle of a replay is told when it
becomes a member, and gets no more of the old one.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

from chat.core.names import id_fault
from chat.core.presence import Presence
from chat.core.rooms import Room, Rooms
from chat.core.stream import EncodedMessage, LiveStream, Membership
from chat.errors import InvalidArgument, Unavailable
from chat.metrics import ServerMetrics
from chat.storage.base import Range, Store, StoreError
from chat.storage.listener import Head, Listener, UserMark
from gen.chat import ChatMessage, Join, Joined, RoomChanges
from hosting.faults import Faults
from hosting.logs import get_logger

log = get_logger(__name__)

_REPLAY_PAGE = 500

OpenStore = Callable[[Listener], Awaitable[Store]]
_Answer = Callable[[Joined], None]
_Replay = Callable[[ChatMessage], None]


class Hub:
    """Streams, rooms, users and the store brought together. Made by `open`.

    Attributes:
        store: keeps messages and users.
        streams: the live streams that are open.
    """

    store: Store

    def __init__(self, metrics: ServerMetrics, faults: Faults) -> None:
        self.metrics = metrics
        self.streams: set[LiveStream] = set()
        self.faults = faults
        self._rooms: Rooms[LiveStream] = Rooms(self._unfollow)
        self._presence = Presence()

    @classmethod
    async def open(
        cls,
        open_store: OpenStore,
        metrics: ServerMetrics | None = None,
        faults: Faults | None = None,
    ) -> Self:
        """Makes a hub over a store.

        Raises:
            StoreUnusable: see the engine.
        """
        hub = cls(metrics or ServerMetrics(), faults or Faults())
        hub.store = await open_store(Listener(hub.announce, hub.renew, hub.changed, hub.marked))
        return hub

    def announce(self, messages: Sequence[ChatMessage]) -> None:
        """Delivers messages that were stored. The store's listener.

        A failure at one member costs it that message, and the others nothing.
        """
        metrics = self.metrics
        busy, deliveries = metrics.busy, 0
        for message in messages:
            room_id = message.room_id
            if busy is not None:
                busy[room_id] = busy.get(room_id, 0) + 1
            members = self._rooms.advance(room_id, message.seq)
            if members:
                deliveries += len(members)
                encoded = EncodedMessage(message)
                for member in members:
                    try:
                        member.deliver(encoded)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                        self.faults.log("delivery failed", error, room_id=room_id)
                        member.missed(message)
        metrics.deliveries += deliveries

    def changed(self, changes: Sequence[RoomChanges]) -> None:
        """Tells followers what changed. The store's listener."""

    def marked(self, marks: Sequence[UserMark]) -> None:
        """Tells how far users have read. The store's listener."""

    def renew(self, heads: Mapping[str, Head]) -> None:
        """Tells all members that the history is another one now. The store's listener.

        Args:
            heads: of each followed room.
        """
        for room_id, head in heads.items():
            last_seq = head.seq
            room = self._rooms.get(room_id)
            if room is not None:
                room.last_seq = last_seq
                for member in room.members:
                    # Own messages up to there are not announced: each is answered by itself.
                    member.rooms[room_id] = Membership()
                    member.renewed(room_id, last_seq)

    def send(
        self, stream: LiveStream, messages: Sequence[ChatMessage]
    ) -> asyncio.Future[list[ChatMessage]]:
        """Hands messages to the store; makes up the ids that are missing.

        Args:
            stream: where they came from; their senders are active from now on.
            messages: checked messages.
        """
        senders = set()
        for message in messages:
            if not message.id:
                message.id = uuid.uuid4().hex
            senders.add(message.sender_id)
        for user_id in senders:
            self.set_active(stream, user_id, True)
        stored = self.store.append(messages)
        self.metrics.received += len(messages)
        return stored

    async def enter(self, stream: LiveStream, room_id: str) -> None:
        """Puts a stream into a room, from now on. Nothing happens if it is in it."""
        if room_id not in stream.rooms:
            with self._rooms.pinned(room_id) as room:
                await self._last_seq(room_id, room)
                self._add_member(stream, room_id, room)

    async def join(
        self, stream: LiveStream, join: Join, *, answer: _Answer, replay: _Replay, limit: int | None
    ) -> None:
        """Puts a stream into a room, and first replays the messages it missed.

        The order on the stream is: the answer, missed messages, live messages.

        Args:
            stream: the stream. If it is in the room already, it leaves first.
            join: a checked request.
            answer: sends the answer.
            replay: puts a stored message into the stream's mailbox.
            limit: how many messages are replayed at most.

        Raises:
            InvalidArgument: the room would be a new one, and may not have such an id.
            Unavailable: the history could not be read.
        """
        room_id = join.room_id
        self.remove_member(stream, room_id)
        with self._rooms.pinned(room_id) as room:
            last_seq = await self._last_seq(room_id, room)
            if (join.after_seq or 0) > last_seq:
                last_seq = await self._catch_up(room_id, room)
            if not last_seq and (fault := id_fault(room_id)):
                raise InvalidArgument("join.room_id", fault)
            recovered = self._can_replay(join, last_seq, limit)
            epoch = self.store.epoch
            answer(Joined(room_id, epoch, last_seq, recovered))
            self.metrics.joined(asked=join.after_seq is not None, recovered=recovered)
            if recovered:
                await self._replay(stream, join, room, replay)
            self._add_member(stream, room_id, room)
            if epoch != self.store.epoch:
                stream.renewed(room_id, room.last_seq or 0)

    def leave(self, stream: LiveStream, room_id: str) -> None:
        """Takes a stream out of a room at its own request."""
        self.remove_member(stream, room_id)

    def remove_member(self, stream: LiveStream, room_id: str) -> None:
        """Takes a stream out of a room. Nothing happens if it is not in it."""
        stream.rooms.pop(room_id, None)
        self._rooms.leave(room_id, stream)

    def set_active(self, stream: LiveStream, user_id: str, active: bool) -> None:
        """Notes that a stream speaks for a user, or no longer does."""
        if active:
            if self._presence.attach(stream, user_id):
                self.store.set_active(user_id, True)
        elif self._presence.detach(stream, user_id):
            self.store.set_active(user_id, False)

    def users_of(self, stream: LiveStream) -> Collection[str]:
        """Returns the users that a stream speaks for."""
        return self._presence.users_of(stream)

    @property
    def rooms(self) -> Rooms[LiveStream]:
        """The rooms that streams are in."""
        return self._rooms

    @property
    def active_users(self) -> int:
        """How many users have an open connection to this node."""
        return len(self._presence)

    def close(self, stream: LiveStream) -> None:
        """Forgets a stream."""
        self.streams.discard(stream)
        for room_id in tuple(stream.rooms):
            self.remove_member(stream, room_id)
        for user_id in self._presence.close(stream):
            self.store.set_active(user_id, False)

    def _can_replay(self, join: Join, last_seq: int, limit: int | None) -> bool:
        after_seq, epoch = join.after_seq, join.epoch
        if after_seq is None or after_seq > last_seq:
            return False
        if epoch is not None and epoch != self.store.epoch:
            return False
        return limit is None or last_seq - after_seq <= limit

    async def _replay(
        self, stream: LiveStream, join: Join, room: Room[LiveStream], replay: _Replay
    ) -> None:
        cursor, epoch = join.after_seq or 0, self.store.epoch
        # `last_seq` may go on rising while a page is read; the loop ends in the turn
        # in which nothing is missing, and the caller enters in that same turn.
        while room.last_seq is not None and cursor < room.last_seq:
            span = Range(_REPLAY_PAGE, before_seq=room.last_seq + 1, after_seq=cursor)
            with _readable("history unreadable", join.room_id):
                page = await self.store.history(join.room_id, span)
            if epoch != self.store.epoch:
                return  # what it read is of another history
            if not page.messages:
                raise AssertionError("the store announced a message that it cannot find")
            for message in page.messages:
                await stream.wait_writable()
                replay(message)
            self.metrics.replayed += len(page.messages)
            cursor = page.messages[-1].seq

    async def _last_seq(self, room_id: str, room: Room[LiveStream]) -> int:
        if room.last_seq is not None:
            return room.last_seq
        with _readable("head unreadable", room_id):
            return room.set_last_seq_if_unknown((await self.store.follow(room_id)).seq)

    async def _catch_up(self, room_id: str, room: Room[LiveStream]) -> int:
        """Waits for what other nodes stored: one of them may have brought it to the client."""
        with _readable("head unreadable", room_id):
            await self.store.catch_up(room_id)
        return room.last_seq or 0

    def _unfollow(self, room_id: str) -> None:
        self.store.unfollow(room_id)

    def _add_member(self, stream: LiveStream, room_id: str, room: Room[LiveStream]) -> None:
        room.members[stream] = None
        stream.rooms[room_id] = Membership()


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
