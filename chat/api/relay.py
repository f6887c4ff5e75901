"""One `Relay` stream: the traffic of a proxy's clients."""

import time
from collections.abc import Sequence
from typing import Any, Final

from grpclib.server import Stream

from chat.access.identity import GUEST, Identity
from chat.api.batches import Columns, MessageRun
from chat.api.confirmations import Confirmations
from chat.api.context import Context
from chat.api.conversation import Bounds, Conversation
from chat.api.extras import admit_extra
from chat.api.quotas import charge
from chat.api.relay_answers import RelayAnswers
from chat.api.relay_changes import RelayChanges
from chat.api.relay_clients import RelayClients
from chat.api.relay_people import RelayPeople
from chat.api.relay_sends import RelaySends
from chat.core.encoded import EncodedMessage, Notice
from chat.core.extras import has_extra
from chat.core.membership import membership_of
from chat.errors import ChatError, Internal, InvalidArgument, ResourceExhausted, Unavailable
from gen.chat import (
    Admit,
    Admitted,
    Authenticate,
    ChangeMessageRequest,
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
    RoomPresence,
    Typists,
)
from hosting.logs import get_logger
from hosting.metadata import TOKENS, TOKENS_REQUIRED
from hosting.rate_limits import JOINS, MESSAGES
from hosting.tracing import spans

log = get_logger(__name__)

# How much text is stored together: all of it may be for one room, whose readers get it
# at once and are cut off if it is more than may wait for them.
_STORE_CHARACTERS: Final = 64 * 1024
MOST_COMMANDS: Final = 16_384
"""The largest batch. An empty command takes hundreds of times its two bytes in memory."""


def too_many() -> ResourceExhausted:
    """The error of a batch with more commands than that."""
    return ResourceExhausted(f"a batch may have at most {MOST_COMMANDS} commands")


class RelayConversation(Conversation[RelayRequest]):
    """One `Relay` stream.

    Args:
        caller: the proxy.
        shares: whether it takes one answer for several changes.
    """

    is_link = True
    # It has many clients, each of which may be worth a line.
    lines_of_refusals = 32

    def __init__(self, context: Context, caller: Identity, *, shares: bool = False) -> None:
        config = context.config
        most = config.limits
        bounds = Bounds(config.relay_mailbox_bytes, most.rooms_per_proxy, most.users_per_proxy)
        super().__init__(context, bounds, caller)
        self._clients = RelayClients(context.authenticator)
        self._answers = RelayAnswers(context, self.refused, self.put, shares=shares)
        self._sends = RelaySends(context, self, self._answers)
        self._changes = RelayChanges(context, self, self._answers)
        self._people = RelayPeople(context, self)
        self._confirmations = Confirmations(super().put, self._answers.fail, self.wake)
        # The joins by which the stream is in its rooms.
        self._joins: dict[str, int] = {}

    async def run(self, stream: Stream[RelayRequest, Any]) -> None:
        """See `Conversation`."""
        try:
            await super().run(stream)
        finally:
            self._changes.cancel()

    async def receive(self, request: RelayRequest) -> None:
        """Handles a batch, in order; messages that stand together are stored together.

        A defect costs the command that met it, and none of the others.
        """
        run = MessageRun(time.monotonic())
        commands = 0
        for command in request.commands:
            payload = command.command
            if type(payload) is ChatMessages:
                columns = Columns(payload)
                commands += len(columns)
                if commands > MOST_COMMANDS:
                    raise too_many()
                run = await self._add_columns(run, columns)
                continue
            commands += 1
            try:
                if type(payload) is ChatMessage:
                    run = await self._add_message(run, command, payload)
                else:
                    run = await self._sends.store(run)
                    await self._dispatch(command, payload)
            except ChatError as error:
                self._answers.refuse(command.ref, command.client, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._answers.fail(command.ref, error)
        self.context.metrics.batches.observe(commands)
        await self._sends.store(run)

    async def _add_message(
        self, run: MessageRun, command: RelayCommand, message: ChatMessage
    ) -> MessageRun:
        if not self._check(command.client, message):
            await self.context.legacy_ids.check_message(message)
        if has_extra(message):
            await admit_extra(self.context, self._clients.of(command.client), message)
        trace = command.traceparent
        span = None if trace is None else spans.begin("message", trace, {})
        run.add(command.ref, message, self.rooms.get(message.room_id))
        if span is not None:
            run.spans.append((message, span))
        return await self._sends.store(run) if run.size > _STORE_CHARACTERS else run

    async def _add_columns(self, run: MessageRun, columns: Columns) -> MessageRun:
        """Takes messages that came as columns, each as if it had come alone."""
        all_pass = (
            columns.of_nobody
            and 0 in self._clients
            and len(self.hub.users_of(self)) + len(columns) <= self.bounds.users
            and self._obeys(columns)
        )
        if all_pass and run.size + columns.size <= _STORE_CHARACTERS:
            run.add_all(columns, self.rooms)
            return run
        for ref, client, message in columns:
            try:
                if not all_pass and not self._check(client, message):
                    await self.context.legacy_ids.check_message(message)
                run.add(ref, message, self.rooms.get(message.room_id))
            except ChatError as error:
                self._answers.refuse(ref, client, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._answers.fail(ref, error)
            if run.size > _STORE_CHARACTERS:
                run = await self._sends.store(run)
        return run

    def _obeys(self, columns: Columns) -> bool:
        """Returns whether all messages pass; False too if the check itself fails."""
        try:
            return columns.obeys(self.context.rules)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.context.faults.log("columns not checked", error)
            return False

    def check_keys(self) -> None:
        """Ends the stream also if a key is gone of one of the proxy's clients.

        The proxy opens another one, presents all clients again, and dismisses those whose
        tokens are refused. To the others that is a pause.
        """
        super().check_keys()
        if not self._clients.has_known_keys():
            self.end_with(Unavailable("the keys of tokens were replaced"))

    @property
    def initial_metadata(self) -> dict[str, str]:
        """Tells the proxy whether its clients need tokens."""
        return {} if self.context.authenticator.is_open else {TOKENS: TOKENS_REQUIRED}

    def deliver(self, message: EncodedMessage) -> None:
        """Puts a message of a room into the mailbox; an own one is only confirmed."""
        ref = self._sends.refs.get(id(message.message))
        if ref is None:
            self.put(message.for_proxy())
        else:
            self._confirmations.add(ref, message.message)

    def tell(self, notice: Notice) -> None:
        """See `LiveStream`."""
        self.put(notice.for_proxy())

    def put(self, item: bytes) -> None:
        """Puts an encoded message into the mailbox, behind the confirmations."""
        self._confirmations.flush()
        super().put(item)

    def _check(self, number: int, message: ChatMessage) -> bool:
        """Checks a message; returns whether its room and its sender may be new."""
        client = self._clients.of(number)
        if client is not GUEST:
            charge(self.context.quotas.user(client.subject or "").sends, MESSAGES)
            client.check_time(time.time())
            message.sender_id = client.sender(message.sender_id, "chat_message.sender_id")
            client.check_write(message.room_id, "chat_message.room_id")
        may_be_new = self.context.rules.message(message)
        self.check_user(message.sender_id, "chat_message.sender_id")
        return may_be_new

    async def _dispatch(self, command: RelayCommand, payload: object) -> None:
        ref = command.ref
        match payload:
            case ChangeMessageRequest():
                client = self._clients.of(command.client)
                await self._changes.make(client, (ref, command.client), payload)
            case Join():
                await self._join(payload, ref)
            case Leave():
                room_id = payload.room_id
                self.context.rules.identifier(room_id, "leave.room_id")
                self.hub.leave(self, room_id)
                self._joins.pop(room_id, None)
                self._answers.tell(RelayEvent(ref=ref, left=Left(room_id)))
            case Presence():
                self.context.rules.identifier(payload.user_id, "presence.user_id")
                if payload.active:
                    self.check_user(payload.user_id, "presence.user_id")
                self.hub.set_active(self, payload.user_id, payload.active)
            case Authenticate():
                answer = self._clients.authenticate(command.client, payload.token)
                self._answers.tell(RelayEvent(ref=ref, authenticated=answer))
            case ClientGone():
                self._clients.discard(command.client)
            case Typists() | RoomPresence():
                await self._people.take(payload)
            case Admit():
                self._answer_permissions(self._clients.of(command.client), payload.room_id, ref)
            case _:
                raise InvalidArgument("command", "is missing")

    def _answer_permissions(self, client: Identity, room_id: str, ref: int) -> None:
        client.check_time(time.time())
        if client is not GUEST:
            charge(self.context.quotas.user(client.subject or "").joins, JOINS)
        admitted = Admitted(room_id in client.reads, room_id in client.writes)
        self._answers.tell(RelayEvent(ref=ref, admitted=admitted))

    async def _join(self, join: Join, ref: int) -> None:
        self.context.rules.identifier(join.room_id, "join.room_id")
        self.check_room(join.room_id, "join.room_id")
        stay = membership_of(join, user_id=None)

        def answer(joined: Joined) -> None:
            self._joins[join.room_id] = ref
            self._answers.tell(RelayEvent(ref=ref, joined=joined))

        self._joins.pop(join.room_id, None)
        # However much a proxy has missed while it was cut off is replayed, so that its
        # clients notice nothing.
        try:
            await self.hub.join(self, join, stay, answer=answer, replay=self._replay, limit=None)
        except ChatError:
            self._joins.pop(join.room_id, None)
            raise

    def _replay(self, message: ChatMessage) -> None:
        self.deliver(EncodedMessage(message))

    def answer_missed(self, message: ChatMessage) -> None:
        """See `Conversation`."""
        ref = self._sends.refs.pop(id(message), None)
        if ref is not None:
            self._answers.tell(RelayEvent(ref=ref, error=Internal().to_message()))

    def tell_lost(self, joined: Joined) -> None:
        """See `Conversation`."""
        self._answers.tell(RelayEvent(ref=self._joins[joined.room_id], joined=joined))

    def _take(self) -> list[bytes]:
        self._confirmations.flush()
        return super()._take()

    def _join_items(self, items: list[bytes]) -> Sequence[bytes]:
        # The encoding of a batch of batches is their concatenation.
        return (b"".join(items),)
