"""The handler of `RelayService`: the traffic of a proxy's clients on one stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from grpclib.const import Handler
from grpclib.server import Stream

import codec
from chat.access.authenticator import Gate
from chat.access.identity import GUEST, Identity
from chat.api.batches import Columns
from chat.api.conversation import Bounds, Conversation, authenticated
from chat.api.handlers import handlers
from chat.api.quotas import JOINS, MESSAGES, charge
from chat.core.hub import Hub
from chat.core.stream import Delivery
from chat.errors import (
    ChatError,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    not_stored,
)
from chat.storage.base import PartlyStored, StoreError
from gen.chat import (
    Admit,
    Admitted,
    Authenticate,
    ChatMessage,
    ChatMessages,
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
    Stored,
)
from hosting.grpc.connections import exempt
from hosting.grpc.messages import at_most
from hosting.logs import get_logger
from hosting.tracing import spans

log = get_logger(__name__)

PATH: Final = "/chat.RelayService/Relay"

# How much text is stored together: all of it may be for one room, whose readers get it
# at once and are cut off if it is more than may wait for them.
_STORE_CHARACTERS: Final = 64 * 1024
MOST_COMMANDS: Final = 16_384
"""The largest batch. An empty command takes hundreds of times its two bytes in memory."""

# How many confirmations are one event at most: what waits beside the mailbox.
_MOST_CONFIRMED: Final = 1000


class RelayService:
    """`chat.RelayService`.

    Args:
        hub: the hub.
        gate: says who calls.
    """

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate

    def __mapping__(self) -> dict[str, Handler]:
        """The one method, by a handler that reads and writes at once."""
        methods = handlers(RelayServiceBase(), {"Relay": self._relay})
        return {path: each._replace(request_type=_Request) for path, each in methods.items()}

    async def _relay(self, stream: Stream[RelayRequest, RelayResponse]) -> None:
        caller = self._gate.proxy(stream)
        self._hub.quotas.exempt(stream)
        exempt(stream)
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
            raise _too_many()
        return codec.decode(RelayRequest, data)


def _too_many() -> ResourceExhausted:
    return ResourceExhausted(f"a batch may have at most {MOST_COMMANDS} commands")


class _Run:
    """Messages of a batch that are stored together, checked.

    Attributes:
        refs: the proxy's names for them.
        messages: the messages.
        places: what the stream was in the room of each by when it came; `None` if it
            was not in it.
        spans: from now until they are delivered, of those that are traced.
        size: how many characters of text they have.
    """

    __slots__ = ("messages", "places", "refs", "size", "spans")

    def __init__(self) -> None:
        self.refs: list[int] = []
        self.messages: list[ChatMessage] = []
        self.places: list[object | None] = []
        self.spans: list[tuple[ChatMessage, spans.Span]] = []
        self.size = 0

    def add(self, ref: int, message: ChatMessage, place: object | None) -> None:
        """Adds a message."""
        self.size += len(message.content)
        self.refs.append(ref)
        self.messages.append(message)
        self.places.append(place)

    def add_all(self, batch: Columns, rooms: Mapping[str, object]) -> None:
        """Adds all messages of a batch; `rooms` tells the place in each."""
        messages = batch.messages()
        self.refs += batch.refs
        self.messages += messages
        self.places += [rooms.get(message.room_id) for message in messages]
        self.size += batch.size

    def each(self) -> Iterator[_Run]:
        """Yields the messages one by one, for each to fail alone."""
        spans = {id(message): (message, span) for message, span in self.spans}
        for ref, message, place in zip(self.refs, self.messages, self.places, strict=True):
            alone = _Run()
            alone.add(ref, message, place)
            if id(message) in spans:
                alone.spans.append(spans[id(message)])
            yield alone

    def end_spans(self, results: Sequence[ChatMessage | ChatError]) -> None:
        """Ends the spans, each with what became of its message: itself, or the refusal."""
        if not self.spans:
            return
        outcomes = dict(zip(map(id, self.messages), results, strict=True))
        for message, span in self.spans:
            outcome = outcomes[id(message)]
            if isinstance(outcome, ChatError):
                span.fail(outcome.status.name)
            else:
                span.note({"chat.seq": outcome.seq})
            span.end()


class RelayConnection(Conversation):
    """One `Relay` stream.

    Args:
        hub: the hub.
        gate: believes the tokens of the proxy's clients.
        caller: the proxy.
    """

    # It has many clients, each of which may be worth a line.
    lines_of_refusals = 32

    def __init__(self, hub: Hub, gate: Gate, caller: Identity) -> None:
        config = hub.config
        most = config.limits
        bounds = Bounds(config.relay_mailbox_bytes, most.rooms_per_proxy, most.users_per_proxy)
        super().__init__(hub, gate, bounds, caller)
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
        # The joins by which the stream is in its rooms.
        self._joins: dict[str, int] = {}

    async def receive(self, request: RelayRequest) -> None:
        """Handles a batch, in order; messages that stand together are stored together.

        A defect costs the command that met it, and none of the others.

        Args:
            request: as the codec decoded it.
        """
        self._batch_came = time.monotonic()
        run = _Run()
        commands = 0
        for command in request.commands:
            payload = command.command
            if type(payload) is ChatMessages:
                batch = Columns(payload)
                commands += len(batch)
                if commands > MOST_COMMANDS:
                    raise _too_many()
                run = await self._take_in(run, batch)
                continue
            commands += 1
            try:
                if type(payload) is ChatMessage:
                    run = await self._take_one(run, command, payload)
                else:
                    run = await self._store(run)
                    await self._dispatch(command, payload)
            except ChatError as error:
                self._refuse(command.ref, command.client, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._fail(command.ref, error)
        self.hub.metrics.batches.observe(commands)
        await self._store(run)

    async def _take_one(self, run: _Run, command: RelayCommand, message: ChatMessage) -> _Run:
        if not self._check(command.client, message):
            await self.hub.known.check_message(message)
        trace = command.traceparent
        span = None if trace is None else spans.begin("message", trace, {})
        run.add(command.ref, message, self.rooms.get(message.room_id))
        if span is not None:
            run.spans.append((message, span))
        return await self._store(run) if run.size > _STORE_CHARACTERS else run

    async def _take_in(self, run: _Run, batch: Columns) -> _Run:
        """Takes messages that came as columns, each as if it had come alone."""
        in_order = (
            batch.of_nobody
            and 0 in self._clients
            and len(self.hub.users_of(self)) + len(batch) <= self.bounds.users
            and self._obeys(batch)
        )
        if in_order and run.size + batch.size <= _STORE_CHARACTERS:
            run.add_all(batch, self.rooms)
            return run
        for ref, client, message in batch:
            try:
                if not in_order and not self._check(client, message):
                    await self.hub.known.check_message(message)
                run.add(ref, message, self.rooms.get(message.room_id))
            except ChatError as error:
                self._refuse(ref, client, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._fail(ref, error)
            if run.size > _STORE_CHARACTERS:
                run = await self._store(run)
        return run

    def _obeys(self, batch: Columns) -> bool:
        """Whether all messages are in order; if that cannot be told, each is looked at."""
        try:
            return batch.obeys(self.hub.rules)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.hub.faults.log("columns not checked", error)
            return False

    def check_keys(self) -> None:
        """Ends the stream also if a key is gone of one of the proxy's clients.

        The proxy opens another one, presents all clients again, and dismisses those who
        are not believed. To the others that is a pause.
        """
        super().check_keys()
        if not all(map(self.gate.believes, self._clients.values())):
            self.end_with(Unavailable("the keys of tokens were replaced"))

    @property
    def initial_metadata(self) -> dict[str, str]:
        """Tells the proxy whether its clients need tokens."""
        return {} if self.gate.is_open else {"chat-tokens": "required"}

    def deliver(self, delivery: Delivery) -> None:
        """Puts a message of a room into the mailbox; of an own one, what is new of it."""
        ref = self._own.get(id(delivery.message))
        if ref is None:
            self.put(delivery.for_proxy())
        else:
            self._confirm(ref, delivery.message)

    def put(self, item: bytes) -> None:
        """Puts an encoded message into the mailbox, behind what was confirmed."""
        self._put_confirmed()
        super().put(item)

    def _check(self, number: int, message: ChatMessage) -> bool:
        """Checks a message; returns whether its room and its sender may be new."""
        client = self._client(number)
        if client is not GUEST:
            charge(self.hub.quotas.user(client.subject or "").sends, MESSAGES)
            client.check_time(time.time())
            message.sender_id = client.sender(message.sender_id, "chat_message.sender_id")
            client.check_write(message.room_id, "chat_message.room_id")
        may_be_new = self.hub.rules.message(message)
        self.check_user(message.sender_id, "chat_message.sender_id")
        return may_be_new

    def _client(self, number: int) -> Identity:
        client = self._clients.get(number)
        if client is None:
            raise Unauthenticated("a token is required")
        return client

    async def _store(self, run: _Run) -> _Run:
        """Hands messages to the store; returns the run for those that follow."""
        if not run.messages:
            return run
        try:
            await self.hub.store.writable()
            self._hand_over(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._not_stored(run, error)
        return _Run()

    def _hand_over(self, run: _Run) -> None:
        future = self.hub.send(self, run.messages)
        self._own.update(zip(map(id, run.messages), run.refs, strict=True))
        came = self._batch_came
        future.add_done_callback(lambda done: self._stored(run, done, came))
        self.expect(future)

    def _not_stored(self, run: _Run, error: Exception) -> None:
        """Finds out whose fault it was that messages could not be handed over together."""
        if isinstance(error, StoreError):
            self._refuse_all(run, not_stored(error))
        elif len(run.refs) == 1:
            self._fail(run.refs[0], error)
            run.end_spans([Internal()])
        else:
            for alone in run.each():
                try:
                    self._hand_over(alone)
                except Exception as why:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._not_stored(alone, why)

    def _refuse_all(self, run: _Run, refusal: ChatError) -> None:
        error = refusal.to_message()
        self.hub.metrics.errors[refusal.status.name] += len(run.refs)
        for ref in run.refs:
            self._answer(RelayEvent(ref=ref, error=error))
        run.end_spans([refusal] * len(run.refs))

    async def _dispatch(self, command: RelayCommand, payload: object) -> None:
        ref = command.ref
        match payload:
            case Join():
                await self._join(payload, ref)
            case Leave():
                room_id = payload.room_id
                self.hub.rules.identifier(room_id, "leave.room_id")
                self.hub.leave(self, room_id)
                self._joins.pop(room_id, None)
                self._answer(RelayEvent(ref=ref, left=Left(room_id)))
            case Presence():
                self.hub.rules.identifier(payload.user_id, "presence.user_id")
                if payload.active:
                    self.check_user(payload.user_id, "presence.user_id")
                self.hub.set_active(self, payload.user_id, payload.active)
            case Authenticate():
                self._authenticate(command.client, payload, ref)
            case ClientGone():
                self._clients.pop(command.client, None)
            case Admit():
                self._admit(self._client(command.client), payload.room_id, ref)
            case _:
                raise InvalidArgument("command", "is missing")

    def _authenticate(self, client: int, request: Authenticate, ref: int) -> None:
        if not client:
            raise InvalidArgument("client", "must be at least 1")
        caller = self.gate.verify(request.token)
        self._clients.get(client, caller).check_same(caller, "authenticate.token")
        answer = authenticated(caller)
        self._clients[client] = caller
        self._answer(RelayEvent(ref=ref, authenticated=answer))

    def _admit(self, client: Identity, room_id: str, ref: int) -> None:
        client.check_time(time.time())
        if client is not GUEST:
            charge(self.hub.quotas.user(client.subject or "").joins, JOINS)
        admitted = Admitted(room_id in client.reads, room_id in client.writes)
        self._answer(RelayEvent(ref=ref, admitted=admitted))

    async def _join(self, join: Join, ref: int) -> None:
        self.hub.rules.identifier(join.room_id, "join.room_id")
        self.check_room(join.room_id, "join.room_id")

        def answer(joined: Joined) -> None:
            self._answer(RelayEvent(ref=ref, joined=joined))

        self._joins.pop(join.room_id, None)
        # A proxy is behind by what came while it was cut off: that is replayed
        # however much it is, so that its clients notice nothing.
        await self.hub.join(self, join, answer=answer, replay=self._replay, limit=None)
        self._joins[join.room_id] = ref

    def _replay(self, message: ChatMessage) -> None:
        self.deliver(Delivery(message))

    def _stored(self, run: _Run, done: asyncio.Future[list[ChatMessage]], came: float) -> None:
        """Answers the messages that are not delivered to this stream as a member."""
        for sent in run.messages:
            self._own.pop(id(sent), None)
        if done.cancelled():
            return
        try:
            results: Sequence[ChatMessage | ChatError] = done.result()
        except PartlyStored as partly:
            results = [_result_of(each) for each in partly.results]
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._not_stored(run, error)
            return
        self.hub.metrics.delivery_seconds.observe(time.monotonic() - came, len(run.refs))
        columns = zip(run.refs, run.places, run.messages, results, strict=True)
        for ref, place, sent, stored in columns:
            room_id = sent.room_id
            if stored is not sent or place is None or self.rooms.get(room_id) is not place:
                try:
                    self._answer_stored(ref, stored)
                except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._fail(ref, error)
        run.end_spans(results)

    def _answer_stored(self, ref: int, result: ChatMessage | ChatError) -> None:
        if isinstance(result, ChatError):
            self._refuse(ref, 0, result)
        else:
            self._answer(RelayEvent(ref=ref, chat_message=result))

    def _refuse(self, ref: int, client: int, error: ChatError) -> None:
        self.hub.metrics.errors[error.status.name] += 1
        if self.refused.add(error.status.name):
            log.debug("command refused", client=client, ref=ref, code=error.status.name)
        self._answer(RelayEvent(ref=ref, error=error.to_message()))

    def _fail(self, ref: int, error: Exception) -> None:
        """Answers a command with a fixed text; the log gets the whole story."""
        self.hub.metrics.errors[Internal.status.name] += 1
        self.hub.faults.log("command failed", error)
        self._answer(RelayEvent(ref=ref, error=Internal().to_message()))

    def tell_missed(self, message: ChatMessage) -> None:
        """Answers the proxy's own message, and says from where on the room goes on."""
        ref = self._own.pop(id(message), None)
        if ref is not None:
            self._answer(RelayEvent(ref=ref, error=Internal().to_message()))
        room_id = message.room_id
        joined = Joined(room_id, self.hub.store.epoch, message.seq, False)
        self._answer(RelayEvent(ref=self._joins[room_id], joined=joined))

    def _confirm(self, ref: int, message: ChatMessage) -> None:
        if message.sent_at is not self._sent_at or len(self._refs) >= _MOST_CONFIRMED:
            self._put_confirmed()
            self._sent_at = message.sent_at
        if not self._refs:
            self.wake()
        self._refs.append(ref)
        self._seqs.append(message.seq)

    def _put_confirmed(self) -> None:
        if not self._refs:
            return
        refs, seqs = self._refs, self._seqs
        self._refs, self._seqs = [], []
        try:
            item = self._confirmation(refs, seqs)
        except Exception:  # noqa: BLE001 - whatever it is, it costs this one alone
            # Each is answered alone, and the fault is found at the one that has it.
            self._put_one_by_one(refs, seqs)
        else:
            super().put(item)

    def _put_one_by_one(self, refs: Sequence[int], seqs: Sequence[int]) -> None:
        for ref, seq in zip(refs, seqs, strict=True):
            try:
                item = self._confirmation([ref], [seq])
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._fail(ref, error)
            else:
                super().put(item)

    def _confirmation(self, refs: list[int], seqs: list[int]) -> bytes:
        stored = Stored(refs=refs, seqs=seqs, sent_at=self._sent_at)
        return codec.encode(RelayResponse(events=[RelayEvent(stored=stored)]))

    def _take(self) -> list[bytes]:
        self._put_confirmed()
        return super()._take()

    def _join_items(self, items: list[bytes]) -> Sequence[bytes]:
        # The encoding of a batch of batches is their concatenation.
        return (b"".join(items),)

    def _answer(self, event: RelayEvent) -> None:
        self.put(codec.encode(RelayResponse(events=[event])))


def _result_of(outcome: ChatMessage | StoreError) -> ChatMessage | ChatError:
    return not_stored(outcome) if isinstance(outcome, StoreError) else outcome
