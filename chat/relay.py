"""The handler of `RelayService`: the traffic of a proxy's clients on one stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

import codec
from chat.access.gate import Gate
from chat.access.identity import GUEST, Identity
from chat.errors import (
    ChatError,
    InvalidArgument,
    ResourceExhausted,
    StorageFailed,
    Unauthenticated,
)
from chat.guards import at_most
from chat.hub import Hub
from chat.live import Conversation, authenticated
from chat.quotas import JOINS, MESSAGES, charge
from chat.storage.base import Appended
from chat.stream import Delivery
from daemon import tracing
from gen.chat import (
    Admit,
    Admitted,
    Authenticate,
    ChatMessage,
    ClientGone,
    Join,
    Joined,
    Leave,
    Left,
    Presence,
    RelayCommand,
    RelayEvent,
    RelayRequest,
    RelayResponse,
    RelayServiceBase,
)
from gen.chat_codec import make_relay_event, make_relay_response, make_stored

log = structlog.get_logger(__name__)

PATH: Final = "/chat.RelayService/Relay"

# How much text is stored together: all of it may be for one room, whose readers get it
# at once and are cut off if it is more than may wait for them.
_STORE_CHARACTERS: Final = 64 * 1024
MOST_COMMANDS: Final = 16_384
"""The largest batch. An empty command takes hundreds of times its two bytes in memory."""

# How many confirmations are one event at most: what waits beside the mailbox.
_MOST_CONFIRMED: Final = 1000


class RelayService(RelayServiceBase):
    """`chat.RelayService`.

    Args:
        hub: the hub.
        gate: says who calls.
    """

    def __init__(self, hub: Hub, gate: Gate) -> None:
        super().__init__()
        self._hub = hub
        self._gate = gate

    def __mapping__(self) -> dict[str, Handler]:
        """The one method, by a handler that reads and writes at once."""
        return {PATH: Handler(self._relay, Cardinality.STREAM_STREAM, _Request, RelayResponse)}

    async def _relay(self, stream: Stream[RelayRequest, RelayResponse]) -> None:
        caller = self._gate.caller(stream)
        caller.check_proxy()
        self._hub.quotas.exempt(stream)
        await RelayConnection(self._hub, self._gate, caller).run(stream)


class _Request:
    """What grpclib reads of the stream: batches, of which none has too many commands."""

    @staticmethod
    def FromString(data: bytes) -> RelayRequest:  # noqa: N802 - as google's messages have it
        """Decodes a batch.

        Raises:
            ResourceExhausted: it has too many commands.
            codec.DecodeError: it is none.
        """
        if not at_most(MOST_COMMANDS, data):
            raise ResourceExhausted(f"a batch may have at most {MOST_COMMANDS} commands")
        return codec.decode(RelayRequest, data)


class _Send:
    """A message of a batch, checked.

    Attributes:
        room: what the stream was in the room by when the message came; `None`
            if it was not in it.
        span: from now until it is delivered, if it is traced.
    """

    __slots__ = ("message", "ref", "room", "span")

    def __init__(
        self, ref: int, message: ChatMessage, room: object | None, span: tracing.Span | None
    ) -> None:
        self.ref = ref
        self.message = message
        self.room = room
        self.span = span

    def end(self, *, seq: int | None = None) -> None:
        """Ends the span; without a position, the message was not stored."""
        if self.span is None:
            return
        if seq is None:
            self.span.fail("UNAVAILABLE")
        else:
            self.span.note({"chat.seq": seq})
        self.span.end()


class RelayConnection(Conversation):
    """One `Relay` stream.

    Args:
        hub: the hub.
        gate: believes the tokens of the proxy's clients.
        caller: the proxy.
    """

    def __init__(self, hub: Hub, gate: Gate, caller: Identity) -> None:
        super().__init__(hub, hub.config.relay_mailbox_bytes, caller)
        self._gate = gate
        # The clients on whose behalf the proxy asks, by its names for them.
        self._clients: dict[int, Identity] = {0: GUEST} if gate.is_open else {}
        # The messages of this stream that are on their way to the disk: their refs,
        # by the id() of the message.
        self._own: dict[int, int] = {}
        # Those that were stored since, all in one commit.
        self._refs: list[int] = []
        self._seqs: list[int] = []
        self._sent_at: datetime | None = None
        self._batch_came = 0.0

    async def receive(self, request: RelayRequest) -> None:
        """Handles a batch, in order; messages that stand together are stored together.

        Args:
            request: as the codec decoded it.
        """
        self._batch_came = time.monotonic()
        self.hub.metrics.batches.observe(len(request.commands))
        sends: list[_Send] = []
        size = 0
        for command in request.commands:
            payload = codec.member_of(command, "command")
            try:
                if type(payload) is ChatMessage:
                    sends.append(self._check(command, payload))
                    size += len(codec.fields_of(payload)["content"])
                    if size > _STORE_CHARACTERS:
                        sends, size = await self._store(sends), 0
                else:
                    sends, size = await self._store(sends), 0
                    await self._dispatch(command, payload)
            except ChatError as error:
                self.hub.metrics.errors[error.status.name] += 1
                log.debug("command refused", client=command.client, code=error.status.name)
                self._answer(RelayEvent(ref=command.ref, error=error.to_message()))
        await self._store(sends)

    @property
    def initial_metadata(self) -> dict[str, str]:
        """Tells the proxy whether its clients need tokens."""
        return {} if self._gate.is_open else {"chat-tokens": "required"}

    def deliver(self, delivery: Delivery) -> None:
        """Puts a message of a room into the mailbox; of an own one, what is new of it."""
        ref = self._own.get(id(delivery.message))
        if ref is None:
            self.put(delivery.for_proxy)
        else:
            self._confirm(ref, delivery.message)

    def put(self, item: bytes) -> None:
        """Puts an encoded message into the mailbox, behind what was confirmed."""
        self._put_confirmed()
        super().put(item)

    def _check(self, command: RelayCommand, message: ChatMessage) -> _Send:
        fields, about = codec.fields_of(message), codec.fields_of(command)
        client = self._client(about["client"])
        if client is not GUEST:
            charge(self.hub.quotas.user(client.subject or "").sends, MESSAGES)
            client.check_time(time.time())
            fields["sender_id"] = client.sender(fields["sender_id"], "chat_message.sender_id")
            client.check_write(fields["room_id"], "chat_message.room_id")
        self.hub.rules.message(message)
        trace = about["traceparent"]
        span = None if trace is None else tracing.begin("message", trace, {})
        return _Send(about["ref"], message, self.rooms.get(fields["room_id"]), span)

    def _client(self, number: int) -> Identity:
        client = self._clients.get(number)
        if client is None:
            raise Unauthenticated("a token is required")
        return client

    async def _store(self, sends: list[_Send]) -> list[_Send]:
        if sends:
            await self.hub.store.writable()
            self._own.update((id(send.message), send.ref) for send in sends)
            future = self.hub.send(self, [send.message for send in sends])
            came = self._batch_came
            future.add_done_callback(lambda done: self._stored(sends, done, came))
            self.expect(future)
        return []

    async def _dispatch(self, command: RelayCommand, payload: object) -> None:
        match payload:
            case Join():
                await self._join(payload, command.ref)
            case Leave():
                self.hub.rules.identifier(payload.room_id, "leave.room_id")
                self.hub.leave(self, payload.room_id)
                self._answer(RelayEvent(ref=command.ref, left=Left(payload.room_id)))
            case Presence():
                self.hub.rules.identifier(payload.user_id, "presence.user_id")
                self.hub.set_active(self, payload.user_id, payload.active)
            case Authenticate():
                self._authenticate(command.client, payload, command.ref)
            case ClientGone():
                self._clients.pop(command.client, None)
            case Admit():
                self._admit(self._client(command.client), payload.room_id, command.ref)
            case _:
                raise InvalidArgument("command", "is missing")

    def _authenticate(self, client: int, request: Authenticate, ref: int) -> None:
        if not client:
            raise InvalidArgument("client", "must be at least 1")
        caller = self._gate.verify(request.token)
        self._clients.get(client, caller).check_same(caller, "authenticate.token")
        self._clients[client] = caller
        self._answer(RelayEvent(ref=ref, authenticated=authenticated(caller)))

    def _admit(self, client: Identity, room_id: str, ref: int) -> None:
        client.check_time(time.time())
        if client is not GUEST:
            charge(self.hub.quotas.user(client.subject or "").joins, JOINS)
        admitted = Admitted(room_id in client.reads, room_id in client.writes)
        self._answer(RelayEvent(ref=ref, admitted=admitted))

    async def _join(self, join: Join, ref: int) -> None:
        self.hub.rules.identifier(join.room_id, "join.room_id")

        def answer(joined: Joined) -> None:
            self._answer(RelayEvent(ref=ref, joined=joined))

        # A proxy is behind by what came while it was cut off: that is replayed
        # however much it is, so that its clients notice nothing.
        await self.hub.join(self, join, answer=answer, replay=self._replay, limit=None)

    def _replay(self, message: ChatMessage) -> None:
        self.deliver(Delivery(message))

    def _stored(
        self, sends: list[_Send], done: asyncio.Future[list[Appended]], came: float
    ) -> None:
        """Answers the messages that are not delivered to this stream as a member."""
        for send in sends:
            self._own.pop(id(send.message), None)
        if done.cancelled():
            return
        if done.exception() is not None:
            error = StorageFailed().to_message()
            self.hub.metrics.errors[StorageFailed.status.name] += len(sends)
            for send in sends:
                send.end()
                self._answer(RelayEvent(ref=send.ref, error=error))
            return
        self.hub.metrics.delivery_seconds.observe(time.monotonic() - came, len(sends))
        for send, (message, fresh) in zip(sends, done.result(), strict=True):
            room_id = codec.fields_of(message)["room_id"]
            stayed = send.room is not None and self.rooms.get(room_id) is send.room
            if not (fresh and stayed):
                self._answer(RelayEvent(ref=send.ref, chat_message=message))
            if send.span is not None:
                send.end(seq=message.seq)

    def _confirm(self, ref: int, message: ChatMessage) -> None:
        fields = codec.fields_of(message)
        if fields["sent_at"] is not self._sent_at or len(self._refs) >= _MOST_CONFIRMED:
            self._put_confirmed()
            self._sent_at = fields["sent_at"]
        self._refs.append(ref)
        self._seqs.append(fields["seq"])
        self.wake()

    def _put_confirmed(self) -> None:
        if not self._refs:
            return
        stored = make_stored(refs=self._refs, seqs=self._seqs, sent_at=self._sent_at)
        self._refs, self._seqs = [], []
        event = make_relay_event(stored=stored)
        super().put(codec.encode(make_relay_response(events=[event])))

    def _take(self) -> list[bytes]:
        self._put_confirmed()
        return super()._take()

    def _join_items(self, items: list[bytes]) -> Sequence[bytes]:
        # The encoding of a batch of batches is their concatenation.
        return (b"".join(items),)

    def _answer(self, event: RelayEvent) -> None:
        self.put(codec.encode(RelayResponse(events=[event])))
