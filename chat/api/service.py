"""The handlers of `ChatService`: thin, they translate."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from grpclib.const import Handler
from grpclib.server import Stream

import codec
from chat.access.authenticator import Gate
from chat.access.identity import Identity
from chat.api.conversation import Bounds, Conversation, authenticated
from chat.api.handlers import Handle, handlers
from chat.api.quotas import CALLS, JOINS, MESSAGES, charge
from chat.core.hub import Hub
from chat.core.reading import read
from chat.core.stream import Delivery
from chat.errors import (
    ChatError,
    Internal,
    InvalidArgument,
    NotFound,
    RateLimited,
    not_stored,
)
from chat.storage.base import Range, StoreError
from gen.chat import (
    Authenticate,
    ChatMessage,
    ChatServiceBase,
    ChatStream,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
    GetUserRequest,
    GetUserResponse,
    Join,
    Joined,
    Leave,
    Left,
    ListUsersRequest,
    ListUsersResponse,
    UpsertUserRequest,
    UpsertUserResponse,
    User,
)
from hosting.grpc.connections import expel
from hosting.logs import get_logger
from hosting.metadata import shortened
from hosting.rate_limits import Allowance

log = get_logger(__name__)

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 500
# How many characters of request ids of one stream may wait for the disk, and one more
# of them: as much as one request has.
_MOST_REQUEST_IDS: Final = 64 * 1024

_Key = tuple[str, str, str]
_Method = Callable[[Identity, Any], Awaitable[Any]]


class ChatService:
    """`chat.ChatService`.

    Args:
        hub: the hub.
        gate: says who calls.
    """

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate

    def __mapping__(self) -> dict[str, Handler]:
        """The methods of the schema; grpclib asks for them."""
        served: dict[str, Handle] = {
            "Chat": self._chat,
            "GetUser": self._unary(self._get_user),
            "GetChatHistory": self._unary(self._get_chat_history),
            "UpsertUser": self._unary(self._upsert_user),
            "ListUsers": self._unary(self._list_users),
        }
        return handlers(ChatServiceBase(), served)

    def _unary(self, method: _Method) -> Handle:
        async def handle(stream: Stream[Any, Any]) -> None:
            caller = self._gate.caller(stream)
            # Read all the same: what refuses a call that is still being sent also resets
            # it, and then some clients do not see when to come back.
            request = await stream.recv_message()
            self._charge(caller, stream)
            await stream.send_message(await method(caller, request))

        return handle

    def _charge(self, caller: Identity, stream: Stream[Any, Any]) -> None:
        """Charges a call; who was refused too often, and goes on regardless, is cut off."""
        quotas = self._hub.quotas
        allowance = quotas.of(caller, stream)
        try:
            charge(allowance.calls, CALLS)
        except RateLimited as refusal:
            # The connection of a proxy is that of others, too: it cuts off its client.
            if not quotas.is_exempt(stream) and allowance.refusals.take(time.monotonic()):
                log.info("client cut off that goes on although it was told to wait")
                expel(stream)
            raise refusal from None

    async def _get_user(self, caller: Identity, request: GetUserRequest) -> GetUserResponse:
        user_id = request.user_id
        self._hub.rules.identifier(user_id, "user_id")
        user = await read(self._hub.store.get_user(user_id))
        if user is None:
            raise NotFound(f"user_id: there is no user {user_id}")
        return GetUserResponse(user=_seen_by(caller, user))

    async def _upsert_user(
        self, caller: Identity, request: UpsertUserRequest
    ) -> UpsertUserResponse:
        rules = self._hub.rules
        rules.identifier(request.user_id, "user_id")
        rules.identifier(request.name, "name")
        rules.email(request.email, "email")
        caller.check_owner(request.user_id, "user_id")
        await self._hub.known.check_user(request.user_id, "user_id")
        await self._hub.known.check_name(request.user_id, request.name, "name")
        try:
            user = await self._hub.store.upsert_user(request.user_id, request.name, request.email)
        except StoreError as error:
            raise not_stored(error) from error
        return UpsertUserResponse(user=user)

    async def _list_users(self, caller: Identity, request: ListUsersRequest) -> ListUsersResponse:
        limit = self._page_size(request.page_size, "page_size")
        # One more than asked for shows whether there is a further page.
        users = await read(self._hub.store.list_users(request.page_token, limit + 1))
        token = users[limit - 1].id if len(users) > limit else ""
        seen = [_seen_by(caller, user) for user in users[:limit]]
        return ListUsersResponse(users=seen, next_page_token=token)

    async def _get_chat_history(
        self, caller: Identity, request: GetChatHistoryRequest
    ) -> GetChatHistoryResponse:
        hub = self._hub
        hub.rules.identifier(request.room_id, "room_id")
        caller.check_read(request.room_id, "room_id")
        span = Range(self._page_size(request.limit, "limit"), request.before_seq, request.after_seq)
        page = await read(hub.store.history(request.room_id, span))
        return GetChatHistoryResponse(page.messages, page.has_more, hub.store.epoch)

    def _page_size(self, asked: int, path: str) -> int:
        self._hub.rules.not_negative(asked, path)
        return min(asked or DEFAULT_PAGE, LARGEST_PAGE)

    async def _chat(self, stream: Stream[ChatStream, ChatStream]) -> None:
        caller = self._gate.caller(stream)
        await ChatConnection(self._hub, self._gate, caller, stream).run(stream)


class ChatConnection(Conversation):
    """One `Chat` stream.

    Args:
        hub: the hub.
        gate: believes further tokens.
        caller: whose it is.
        stream: the call.
    """

    def __init__(
        self, hub: Hub, gate: Gate, caller: Identity, stream: Stream[ChatStream, ChatStream]
    ) -> None:
        limits = hub.config.limits
        bounds = Bounds(hub.config.mailbox_bytes, limits.rooms_per_stream, limits.users_per_stream)
        super().__init__(hub, gate, bounds, caller)
        self._stream = stream
        # The request ids of messages that are on their way to the disk.
        self._unanswered: dict[_Key, deque[str | None]] = {}
        # How long all of those are.
        self._unanswered_size = 0

    async def receive(self, request: ChatStream) -> None:
        """Handles one message of the client; a defect costs it that one alone.

        Raises:
            RateLimited: the client was refused too often, and goes on regardless.
        """
        try:
            await self._dispatch(request)
        except ChatError as error:
            self.hub.metrics.errors[error.status.name] += 1
            if isinstance(error, RateLimited):
                charge(self._allowance.refusals, str(error))
            if self.refused.add(error.status.name):
                log.debug("request refused", code=error.status.name, **_named(request))
            self._put(ChatStream(error=error.to_message(), request_id=request.request_id))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._fail(request.request_id, error)

    def deliver(self, delivery: Delivery) -> None:
        """Puts a message of a room into the mailbox, as an answer if it is one."""
        if self._unanswered:
            key = _key(delivery.message)
            if key in self._unanswered:
                self.put(self._as_answer(delivery, self._unanswered[key][0]))
                self._pop(key)
                return
        self.put(delivery.for_client())

    def tell_missed(self, message: ChatMessage) -> None:
        """Answers the client's own message, and says from where on the room goes on."""
        key = _key(message)
        if key in self._unanswered:
            self._put(ChatStream(error=Internal().to_message(), request_id=self._pop(key)))
        joined = Joined(message.room_id, self.hub.store.epoch, message.seq, recovered=False)
        self._put(ChatStream(joined=joined))

    def expired(self) -> None:
        """Leaves all rooms: a client that is slow to read would go on to hear of them."""
        for room_id in tuple(self.rooms):
            self.hub.leave(self, room_id)

    @property
    def _allowance(self) -> Allowance:
        return self.hub.quotas.of(self.caller, self._stream)

    def _charge(self, payload: object) -> None:
        match payload:
            case ChatMessage():
                charge(self._allowance.sends, MESSAGES)
            case Join():
                charge(self._allowance.joins, JOINS)
            case _:
                charge(self._allowance.calls, CALLS)

    async def _dispatch(self, request: ChatStream) -> None:
        payload = request.payload
        self._charge(payload)
        match payload:
            case ChatMessage():
                await self._send(payload, request.request_id)
            case Join():
                await self._join(payload, request.request_id)
            case Leave():
                self.hub.rules.identifier(payload.room_id, "leave.room_id")
                self.hub.leave(self, payload.room_id)
                self._put(ChatStream(left=Left(payload.room_id), request_id=request.request_id))
            case Authenticate():
                self._authenticate(payload, request.request_id)
            case _:
                raise InvalidArgument("payload", "expected one of chat_message, join, leave")

    async def _send(self, message: ChatMessage, request_id: str | None) -> None:
        message.sender_id = self.caller.sender(message.sender_id, "chat_message.sender_id")
        may_be_new = self.hub.rules.message(message)
        self.caller.check_write(message.room_id, "chat_message.room_id")
        self.check_user(message.sender_id, "chat_message.sender_id")
        if not may_be_new:
            await self.hub.known.check_message(message)
        if message.room_id in self.caller.reads:
            self.check_room(message.room_id, "chat_message.room_id")
            await self.hub.enter(self, message.room_id)
        while self._unanswered_size > _MOST_REQUEST_IDS and self._pending:
            # What waits for the disk is counted without them.
            await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        await self.hub.store.writable()
        came = time.monotonic()
        future = self.hub.send(self, [message])
        key = _key(message)
        self._unanswered.setdefault(key, deque()).append(request_id)
        self._unanswered_size += len(request_id or "")
        future.add_done_callback(lambda done: self._stored(key, done, came))
        self.expect(future)

    async def _join(self, join: Join, request_id: str | None) -> None:
        self.hub.rules.identifier(join.room_id, "join.room_id")
        self.caller.check_read(join.room_id, "join.room_id")
        self.check_room(join.room_id, "join.room_id")
        await self.hub.join(
            self,
            join,
            answer=lambda joined: self._put(ChatStream(joined=joined, request_id=request_id)),
            replay=self._replay,
            limit=self.hub.config.replay_messages,
        )

    def _authenticate(self, request: Authenticate, request_id: str | None) -> None:
        caller = self.gate.verify(request.token)
        self.caller.check_same(caller, "authenticate.token")
        answer = authenticated(caller)
        self.caller = caller
        for room_id in tuple(self.rooms):
            if room_id not in caller.reads:
                self.hub.leave(self, room_id)
                self._put(ChatStream(left=Left(room_id)))
        self._put(ChatStream(authenticated=answer, request_id=request_id))

    def _as_answer(self, delivery: Delivery, request_id: str | None) -> bytes:
        if request_id is None:
            return delivery.for_client()
        return codec.encode(ChatStream(chat_message=delivery.message, request_id=request_id))

    def _replay(self, message: ChatMessage) -> None:
        self.deliver(Delivery(message))

    def _stored(self, key: _Key, done: asyncio.Future[list[ChatMessage]], came: float) -> None:
        """Answers what no delivery answered: a repeated, a failed or an unseen message."""
        if not done.cancelled() and done.exception() is None:
            self.hub.metrics.delivery_seconds.observe(time.monotonic() - came)
        if key not in self._unanswered or done.cancelled():
            return
        request_id = self._pop(key)
        try:
            [stored] = done.result()
            self._put(ChatStream(chat_message=stored, request_id=request_id))
        except StoreError as failure:
            error = not_stored(failure)
            self.hub.metrics.errors[error.status.name] += 1
            self._put(ChatStream(error=error.to_message(), request_id=request_id))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._fail(request_id, error)

    def _fail(self, request_id: str | None, error: Exception) -> None:
        """Answers a request with INTERNAL; if not even that can be told, the stream ends."""
        self.hub.metrics.errors[Internal.status.name] += 1
        self.hub.faults.log("request failed", error)
        try:
            self._put(ChatStream(error=Internal().to_message(), request_id=request_id))
        except Exception as worse:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.failed("client not told of a failure", worse)

    def _pop(self, key: _Key) -> str | None:
        waiting = self._unanswered[key]
        request_id = waiting.popleft()
        self._unanswered_size -= len(request_id or "")
        if not waiting:
            del self._unanswered[key]
        return request_id

    def _put(self, message: ChatStream) -> None:
        self.put(codec.encode(message))


def _named(request: ChatStream) -> dict[str, str]:
    request_id = request.request_id
    return {} if request_id is None else {"request_id": shortened(request_id)}


def _seen_by(caller: Identity, user: User) -> User:
    """A user as a caller may see it."""
    return user if caller.owns(user.id) else replace(user, email="")


def _key(message: ChatMessage) -> _Key:
    return message.room_id, message.sender_id, message.id
