"""The heart of the server: streams, rooms, users and the store brought together.

The life of a message here: `send` hands it to the store; the store's writer
gives it its position in the room and puts it on disk; `announce` hears of it and
delivers it to each stream in the room. How a stream enters a room, with all that it missed, is
in `joining`; how those in a room are told what became of messages, in `telling`; who is there
and who types, in `telling_presence` and `telling_typists`.

Another epoch. The store may learn that messages were lost. `renew` then tells each member from
where on the room has another history; whoever is in the middle of a replay is told when it
becomes a member, and gets no more of the old one.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Self

from chat.core.encoded import EncodedMessage
from chat.core.joining import Answer, Joining, Replay
from chat.core.membership import Following, Membership
from chat.core.paces import Paces
from chat.core.presence import Presence
from chat.core.rooms import Rooms
from chat.core.stream import LiveStream
from chat.core.telling import Telling
from chat.core.telling_presence import TellingPresence
from chat.core.telling_typists import TellingTypists
from chat.metrics import ServerMetrics
from chat.storage.base import Store
from chat.storage.listener import Head, Listener, UserMark, Whisper
from gen.chat import ChatMessage, Join, RoomChanges, RoomPresence, Typists
from hosting.faults import Faults

OpenStore = Callable[[Listener], Awaitable[Store]]


class Hub:
    """Streams, rooms, users and the store brought together. Made by `open`.

    Attributes:
        store: keeps messages and users.
        streams: the live streams that are open.
        present: who is in rooms.
        typing: who types in rooms.
    """

    store: Store
    _joining: Joining

    def __init__(self, metrics: ServerMetrics, faults: Faults, paces: Paces | None = None) -> None:
        paces = paces or Paces()
        self.metrics = metrics
        self.streams: set[LiveStream] = set()
        self.faults = faults
        self._rooms: Rooms[LiveStream] = Rooms(self._unfollow)
        self._presence: Presence[LiveStream] = Presence()
        self._telling = Telling(self._rooms, self._presence, metrics, faults)
        self.present = TellingPresence(self._rooms, metrics, faults, paces.linger, paces.presence)
        self.typing = TellingTypists(
            self._rooms, self.present.count, metrics, faults, paces.hold, paces.typing
        )

    @classmethod
    async def open(
        cls,
        open_store: OpenStore,
        metrics: ServerMetrics | None = None,
        faults: Faults | None = None,
        paces: Paces | None = None,
    ) -> Self:
        """Makes a hub over a store.

        Raises:
            StoreUnusable: see the engine.
        """
        hub = cls(metrics or ServerMetrics(), faults or Faults(), paces)
        hub.store = await open_store(
            Listener(
                hub.announce,
                hub.renew,
                hub.changed,
                hub.marked,
                hub.whispered,
                hub.present.met,
                hub.lost,
            )
        )
        if hub.store.is_shared:
            hub.present.whisper_by(hub.store.whisper)
            hub.typing.whisper_by(hub.store.whisper)
        hub._joining = Joining(hub.store, hub._rooms, hub.metrics)
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
        for each in changes:
            try:
                self._telling.changed(each)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this room alone
                self.faults.log("changes not told", error, room_id=each.room_id)

    def marked(self, marks: Sequence[UserMark]) -> None:
        """Tells how far users have read. The store's listener."""
        for each in marks:
            self._telling.marked(each)

    def whispered(self, node: str, told: Whisper) -> None:
        """Takes what another node tells of its clients. The store's listener."""
        try:
            if isinstance(told, Typists):
                self.typing.whispered(node, told)
            elif isinstance(told, RoomPresence):
                self.present.whispered(node, told)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.faults.log("whisper not taken", error, room_id=told.room_id)

    def lost(self, node: str) -> None:
        """Notes that another node is gone. The store's listener."""
        self.typing.lost(node)
        self.present.lost(node)

    def renew(self, heads: Mapping[str, Head]) -> None:
        """Tells all members that the history is another one now. The store's listener.

        Args:
            heads: of each followed room.
        """
        for room_id, head in heads.items():
            room = self._rooms.get(room_id)
            if room is not None:
                self._telling.forget(room_id)
                room.renew(head)
                for member in room.members:
                    # Own messages up to there are not announced: each is answered by itself.
                    stay = member.rooms[room_id].again(head.change)
                    member.rooms[room_id] = stay
                    if room.followers is not None and isinstance(stay, Following):
                        room.followers.add(member, stay)
                    member.renewed(room_id, head.seq)

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
            await self._joining.enter(stream, room_id)
            self.present.entered(stream, room_id, "")

    async def join(
        self,
        stream: LiveStream,
        join: Join,
        stay: Membership,
        *,
        answer: Answer,
        replay: Replay,
        limit: int | None,
        user_id: str = "",
    ) -> None:
        """Puts a stream into a room, and first replays what it missed.

        The order on the stream is: the answer, missed changes, missed messages, live ones.

        Args:
            stream: the stream. If it is in the room already, it leaves first.
            join: a checked request.
            stay: what it is told there, by `membership_of`.
            answer: sends the answer.
            replay: puts a stored message into the stream's mailbox.
            limit: how many messages are replayed at most, and how many changed ones.
            user_id: for whom a client is there; empty for nobody.

        Raises:
            InvalidArgument: the room would be a new one, and may not have such an id.
            Unavailable: the history could not be read.
        """
        room_id = join.room_id
        stream.rooms.pop(room_id, None)
        self._rooms.leave(room_id, stream)
        try:
            await self._joining.join(stream, join, stay, answer=answer, replay=replay, limit=limit)
        finally:
            # Whoever was there already was there all the time.
            if room_id in stream.rooms:
                self.present.entered(stream, room_id, user_id)
                self.typing.entered(stream, room_id, stay)
            else:
                self._gone(stream, room_id)

    def leave(self, stream: LiveStream, room_id: str) -> None:
        """Takes a stream out of a room at its own request."""
        self.remove_member(stream, room_id)

    def remove_member(self, stream: LiveStream, room_id: str) -> None:
        """Takes a stream out of a room. Nothing happens if it is not in it."""
        stream.rooms.pop(room_id, None)
        self._rooms.leave(room_id, stream)
        self._gone(stream, room_id)

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
        self.present.closed(stream)

    def stop(self) -> None:
        """Tells nothing any more of who is there: the store is about to be closed."""
        self.present.close()
        self.typing.close()

    def _gone(self, stream: LiveStream, room_id: str) -> None:
        self.present.left(stream, room_id)
        self.typing.left(stream, room_id)

    def _unfollow(self, room_id: str) -> None:
        self._telling.forget(room_id)
        self.typing.forget(room_id)
        self.store.unfollow(room_id)
