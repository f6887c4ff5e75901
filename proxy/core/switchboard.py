"""The heart of the proxy: many clients, one stream to the server.

The life of a message here: `send` encodes it once and puts it on the stream;
`receive` hears of it, with all others of its batch, turns it into a frame once,
and writes the same bytes to each client in its room.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final, TypeVar

from codec.columns import utf8_length
from gen.chat import (
    Admitted,
    Authenticated,
    ChatMessage,
    Error,
    Join,
    Joined,
    Leave,
    Left,
    Presence,
    RelayCommand,
    RelayEvent,
    RelayResponse,
    ServerFrame,
    Stored,
)
from hosting.faults import Faults
from hosting.logs import get_logger
from hosting.metadata import of_request
from proxy import errors
from proxy.config import Config
from proxy.core import frames
from proxy.core.callers import Callers
from proxy.core.client import Client
from proxy.core.fanout import Delivery
from proxy.core.outbox import Item, Outbox
from proxy.core.outstanding import Unconfirmed
from proxy.core.rooms import GapError, Room, Rooms
from proxy.core.sends import Sends
from proxy.core.suspects import Key
from proxy.errors import Refused
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)

_Result = TypeVar("_Result")

_RETRY_JOIN_SECONDS: Final = 0.5
# In UTF-8.
_LARGEST_CHARACTER: Final = 4
# What a message takes beside its texts, with all that is kept about it until it is
# confirmed.
_OVERHEAD: Final = 1024
# A command other than a message: names, of which the server takes no long ones.
_SMALL: Final = 1024


class Switchboard:
    """Clients, rooms and unconfirmed sends.

    Args:
        config: the settings.
        outbox: takes commands for the server. What it drops while there is no link,
            `connected` asks again.
        metrics: counts what happens.

    Attributes:
        outbox: what goes to the server next.
        sends: what is not confirmed yet.
        callers: the clients that presented a token.
        guests: the clients that presented none, while the server asks for none.
        faults: logs defects.
        tokens_required: whether the server asks for one; until it was reached, it is
            taken not to, and refuses by itself.
    """

    def __init__(self, config: Config, outbox: Outbox, metrics: ProxyMetrics | None = None) -> None:
        self._metrics = metrics or ProxyMetrics()
        self._config = config
        self.outbox = outbox
        self._put = outbox.put
        self._refs = count(1)
        self._rooms: Rooms[Client] = Rooms()
        self._users: Counter[str] = Counter()
        # Who was still to be said to be gone, when that had to wait.
        self._untold: set[str] | None = None
        self.faults = Faults()
        self.sends = Sends(config, self._give_up)
        self.callers = Callers(config, self._refs, outbox)
        self.guests: set[Client] = set()
        self.tokens_required = False

    # What clients do.

    def send(
        self, client: Client, message: ChatMessage, request_id: str | None, *, enter: bool = True
    ) -> None:
        """Sends a message, and puts the client into its room.

        Args:
            client: who sends it.
            message: what it sends.
            request_id: what comes back on the answer.
            enter: whether the client may be in the room.

        Raises:
            Refused: the server is away, and no more is held for it.
        """
        self.sends.check()
        room_id, sender_id = message.room_id, message.sender_id
        if sender_id not in client.users and client.may_be(sender_id):
            self._speak_for(client, sender_id)
        ref = next(self._refs)
        if room_id in client.rooms:
            room = self._rooms.get(room_id)
            if room is not None and room.tentative:
                room.sent(client, ref, entered=False)
        elif enter:
            # The server answers the join before anything of the room comes, so
            # the client may be a member already.
            room = self._room(room_id)
            self.admit(client, room)
            room.sent(client, ref, entered=True)
        size = _size(message) + len(request_id or "") * _LARGEST_CHARACTER
        send = Unconfirmed(ref, message, client, request_id, size)
        self.sends.add(send)
        self._put(send, size)
        self._metrics.received += 1

    def leave(self, client: Client, room_id: str) -> None:
        """Takes a client out of a room. Nothing happens if it is not in it."""
        client.rooms.discard(room_id)
        room = self._rooms.get(room_id)
        if room is not None:
            room.leave(client)
            self._give_up_if_unused(room)

    def close(self, client: Client) -> None:
        """Forgets a client. What it sent is still stored."""
        for room_id in tuple(client.rooms):
            self.leave(client, room_id)
        for user_id in client.users:
            self._users[user_id] -= 1
            if not self._users[user_id]:
                del self._users[user_id]
                self._tell_presence(user_id, active=False)
        client.users.clear()
        self.guests.discard(client)
        if client.caller is not None:
            self.callers.gone(client.caller)

    async def live_room(self, room: Room[Client]) -> None:
        """Waits until a room is live.

        Raises:
            Refused: the server refused the room, or stays away.
        """
        error = await self._patiently(room.ready)
        if error is not None:
            raise Refused(error)

    async def reached(self, room: Room[Client], seq: int) -> None:
        """Waits until a room was delivered up to a position, or its history is another.

        Raises:
            Refused: that takes too long, or the server refused the room.
        """
        await self._patiently(room.milestone(seq))
        await self.live_room(room)

    async def _patiently(self, future: asyncio.Future[_Result]) -> _Result:
        patience = self._config.hold_seconds
        if self.sends.linked:
            patience += self._config.call_seconds
        try:
            async with asyncio.timeout(patience):
                return await asyncio.shield(future)
        except TimeoutError:
            raise Refused(errors.unavailable()) from None

    @property
    def rooms(self) -> Rooms[Client]:
        """The rooms that clients are in."""
        return self._rooms

    @contextmanager
    def entering(self, room_id: str) -> Iterator[Room[Client]]:
        """Keeps a room while a client is about to enter it; subscribes if need be."""
        room = self._room(room_id)
        room.pins += 1
        try:
            yield room
        finally:
            room.pins -= 1
            self._give_up_if_unused(room)

    def admit(self, client: Client, room: Room[Client]) -> None:
        """Puts a client into a room: it gets what comes after `Room.last_seq`."""
        client.rooms.add(room.room_id)
        room.members[client] = None

    # What the server tells.

    def connected(self, *, tokens_required: bool = False, presence: bool = True) -> None:
        """A new stream: asks for the rooms again, and sends what was not confirmed.

        Args:
            tokens_required: whether the server asks for tokens.
            presence: whether the server is told now who is there; else that waits for
                `proven`.
        """
        self.tokens_required = tokens_required
        if tokens_required:
            # Before anything is sent: also those who are in no room, and wait.
            for guest in self.guests:
                self._dismiss(guest)
            self.guests.clear()
        self.sends.connected()
        callers = [send.client.caller for send in self.sends if send.client.caller is not None]
        self.callers.connected(callers)
        self._untold = None if presence else set()
        if presence:
            self._tell_users()
        for room in self._rooms:
            self._subscribe(room)
        senders = set()
        for send in self.sends:
            self._put(send, send.size)
            if send.client.may_be(send.key[1]):
                senders.add(send.key[1])
        self.callers.tell_gone(callers)
        # The server takes a message as a sign of presence, also of who left meanwhile.
        if self._untold is None:
            self._tell_gone(senders)
        else:
            self._untold |= senders

    def proven(self) -> None:
        """The stream has lived for some seconds."""
        if self._untold is not None:
            senders, self._untold = self._untold, None
            self._tell_users()
            self._tell_gone(senders)

    def unanswered(self) -> Iterator[tuple[Key, int]]:
        """Yields what the server was asked and has not answered, with its reference."""
        yield from self.callers.unanswered()
        for room in self._rooms:
            if room.join_ref and not room.live:
                yield ("join", room.room_id), room.join_ref
        for send in self.sends:
            yield ("chat_message", send.ref), send.ref

    def awaits(self, item: Item) -> bool:
        """Whether the server has not answered a command."""
        if isinstance(item, Unconfirmed):
            return self.sends.find(item.ref) is not None
        payload = item.command
        if isinstance(payload, Join):
            room = self._rooms.get(payload.room_id)
            return room is not None and not room.live and room.join_ref == item.ref
        return self.callers.awaits(item.ref)

    def refuse(self, ref: int, error: Error) -> None:
        """Takes an error for the answer to a command."""
        if not self.callers.answered(ref, error):
            self._refused(ref, error)
        self.sends.note_settled()

    def disconnected(self) -> None:
        """The stream is gone: holds what clients send until it is back."""
        self._rooms.disconnected()
        self.sends.disconnected()

    def receive(self, batch: RelayResponse) -> None:
        """Handles what came in one batch, and writes it to the clients.

        What fails for one event costs whom it concerns, and nobody else.

        Args:
            batch: as the codec decoded it.

        Raises:
            GapError: the server left out a message.
        """
        self._metrics.received_batches.observe(len(batch.events))
        delivery = Delivery(self._metrics)
        try:
            for event in batch.events:
                try:
                    self._handle(event, delivery)
                except GapError:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._failed(event, error)
        finally:
            # What came before a gap counts as delivered.
            delivery.write()
            self.sends.note_settled()

    def _handle(self, event: RelayEvent, delivery: Delivery) -> None:
        payload = event.event
        ref = event.ref
        if type(payload) is ChatMessage:
            if ref:
                # It must not overtake what came before it.
                delivery.write()
                send = self.sends.settle_ref(ref)
                room = None if send is None else self._rooms.get(send.key[0])
                self._settled(room, payload, send, None)
            else:
                self._arrived(payload, delivery)
        elif type(payload) is Stored:
            self._stored(payload, delivery)
        elif isinstance(payload, Joined):
            # Members may have to hear of it behind what they got before.
            delivery.write()
            self._joined(ref, payload)
        elif isinstance(payload, Error):
            if not self.callers.answered(ref, payload):
                self._refused(ref, payload)
        elif isinstance(payload, Authenticated | Admitted):
            self.callers.answered(ref, payload)

    def _failed(self, event: RelayEvent, error: Exception) -> None:
        self.faults.log("event failed", error)
        if event.ref:
            try:
                self.refuse(event.ref, errors.internal())
            except Exception as worse:  # noqa: BLE001 - likewise
                self.faults.log("client not told of a failure", worse)

    def _stored(self, stored: Stored, delivery: Delivery) -> None:
        """Completes own messages, which did not have to come back whole."""
        sent_at = stored.sent_at
        if len(stored.refs) != len(stored.seqs):
            raise GapError("a confirmation has another number of commands than of positions")
        for ref, seq in zip(stored.refs, stored.seqs, strict=True):
            send = self.sends.find(ref)
            if send is None:
                raise GapError(f"the message of command {ref} is not known")
            message = send.message
            room = self._rooms.get(send.key[0])
            # Before it is settled: past a gap nothing counts as answered.
            is_new = room is not None and room.advance(seq)
            self.sends.settle_ref(ref)
            message.seq = seq
            message.sent_at = sent_at
            self._settled(room, message, send, delivery if is_new else None)

    def _arrived(self, message: ChatMessage, delivery: Delivery) -> None:
        room = self._rooms.get(message.room_id)
        is_new = room is not None and room.advance(message.seq)
        self._settled(room, message, self.sends.settle(message), delivery if is_new else None)

    def _settled(
        self,
        room: Room[Client] | None,
        message: ChatMessage,
        send: Unconfirmed[Client] | None,
        delivery: Delivery | None,
    ) -> None:
        """Brings a stored message to its room, or else to who sent it.

        Args:
            room: its room, if somebody is in it.
            message: the message.
            send: what it settled, if that was sent from here.
            delivery: what brings it to the room, if it is new there.
        """
        try:
            if room is not None:
                if send is not None:
                    room.confirmed(send.client)
                if delivery is not None and delivery.add(room, message, send):
                    return
            self._answer(send, message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.faults.log("message not delivered", error)
            if send is not None:
                self._tell_error(send, errors.internal())
            if room is not None and delivery is not None and not _can_be_framed(message):
                self._lose_place(room, delivery)

    def _lose_place(self, room: Room[Client], delivery: Delivery) -> None:
        """Tells the members that what comes next does not follow what they have."""
        delivery.write()
        self._metrics.room_resumes["lost"] += 1
        joined = Joined(room.room_id, room.epoch, room.last_seq, recovered=False)
        frame = frames.encode(ServerFrame(joined=joined))
        for client in room.members:
            client.write(frame)
        room.note_delivered()

    def _joined(self, ref: int, joined: Joined) -> None:
        room = self._rooms.asked(ref)
        if room is None:
            return
        resumed = bool(room.epoch)
        lost = room.joined(joined)
        if lost or resumed:
            self._metrics.room_resumes["lost" if lost else "recovered"] += 1
        if lost:
            frame = frames.encode(ServerFrame(joined=joined))
            for client in room.members:
                client.write(frame)

    def _refused(self, ref: int, error: Error) -> None:
        send = self.sends.find(ref)
        if send is not None:
            if send.client.may_tell(error):
                with of_request(send.request_id):
                    name = send.client.connection
                    log.debug("frame refused", connection=name, ref=ref, code=error.code.name)
            self._tell_error(send, error)
            self.sends.settle_ref(ref)
            if error.retry_after_ms is not None:
                send.client.told_to_wait()
            if error.retryable:
                self._confirm_entry(send)
            else:
                self._undo_entry(send)
            return
        room = self._rooms.asked(ref)
        if room is not None:
            self._room_refused(room, error)

    def _confirm_entry(self, send: Unconfirmed[Client]) -> None:
        """Leaves a client in a room although its message was not stored: it may come again."""
        room = self._rooms.get(send.key[0])
        if room is not None:
            room.confirmed(send.client)

    def _undo_entry(self, refused: Unconfirmed[Client]) -> None:
        """Takes a client out of a room again into which only refused messages put it."""
        room = self._rooms.get(refused.key[0])
        if room is not None and not room.remains_without(refused.client, refused.ref):
            self.leave(refused.client, room.room_id)

    def _room_refused(self, room: Room[Client], error: Error) -> None:
        room.refused(error)
        # Also for who is in the middle of a replay, and will be a member.
        if error.retryable and (room.members or room.pins):
            loop = asyncio.get_running_loop()
            loop.call_later(_RETRY_JOIN_SECONDS, self._subscribe_again, room, room.join_ref)
            return
        # Who was in it before is told; the others have asked, and get an answer.
        told = room.epoch and frames.encode(ServerFrame(left=Left(room.room_id)))
        for client in room.members:
            client.rooms.discard(room.room_id)
            if told and client not in room.tentative:
                client.write(told)
        self._rooms.remove(room)

    # Helpers.

    def _dismiss(self, guest: Client) -> None:
        try:
            guest.dismiss(errors.unauthenticated())
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.faults.log("client not dismissed", error)

    def _room(self, room_id: str) -> Room[Client]:
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms.add(room_id)
            self._subscribe(room)
        return room

    def _subscribe(self, room: Room[Client]) -> None:
        ref = next(self._refs)
        self._put(RelayCommand(ref=ref, join=self._rooms.joining(room, ref)), _SMALL)

    def _subscribe_again(self, room: Room[Client], ref: int) -> None:
        if room.join_ref == ref and self._rooms.get(room.room_id) is room:
            self._subscribe(room)

    def _give_up_if_unused(self, room: Room[Client]) -> None:
        if self._rooms.unused(room):
            self._rooms.remove(room)
            leave = Leave(room.room_id)
            self._put(RelayCommand(ref=next(self._refs), leave=leave), _SMALL)

    def _speak_for(self, client: Client, user_id: str) -> None:
        # The server takes a message as a sign of presence; only the end is told.
        client.users.add(user_id)
        self._users[user_id] += 1

    def _tell_users(self) -> None:
        for user_id in self._users:
            self._tell_presence(user_id, active=True)

    def _tell_gone(self, senders: set[str]) -> None:
        for user_id in senders - self._users.keys():
            self._tell_presence(user_id, active=False)

    def _tell_presence(self, user_id: str, *, active: bool) -> None:
        presence = Presence(user_id, active)
        self._put(RelayCommand(ref=next(self._refs), presence=presence), _SMALL)

    def _answer(self, send: Unconfirmed[Client] | None, message: ChatMessage) -> None:
        if send is not None:
            send.client.write(frames.message(message, send.request_id))

    def _give_up(self, send: Unconfirmed[Client]) -> None:
        self._confirm_entry(send)
        self._tell_error(send, errors.unavailable())

    def _tell_error(self, send: Unconfirmed[Client], error: Error) -> None:
        told = self._metrics.refused(error)
        try:
            frame = frames.error(told, send.request_id)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.faults.log("answer not encoded", failure)
            frame = frames.error(told, None)
        send.client.write(frame)


def _size(message: ChatMessage) -> int:
    """Returns how many bytes a message takes while it is kept; in a batch it takes less."""
    names = len(message.id) + len(message.room_id) + len(message.sender_id)
    return utf8_length(message.content) + names * _LARGEST_CHARACTER + _OVERHEAD


def _can_be_framed(message: ChatMessage) -> bool:
    try:
        frames.message(message)
    except Exception:  # noqa: BLE001 - it was told of already
        return False
    return True
