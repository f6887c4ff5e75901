"""The handlers of `ChatService`: thin, they translate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import structlog
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

import codec
from chat.errors import (
    ChatError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    StorageFailed,
    Unavailable,
)
from chat.hub import Hub
from chat.live import Conversation
from chat.storage.base import Appended, Range, StoreError
from chat.stream import Delivery
from gen.chat import (
    ChatMessage,
    ChatServiceBase,
    ChatStream,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
    GetUserRequest,
    GetUserResponse,
    Join,
    Leave,
    Left,
    ListUsersRequest,
    ListUsersResponse,
    UpsertUserRequest,
    UpsertUserResponse,
)

log = structlog.get_logger(__name__)

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 500

T = TypeVar("T")
_Key = tuple[str, str, str]


class ChatService(ChatServiceBase):
    """`chat.ChatService`."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub

    def __mapping__(self) -> dict[str, Handler]:
        """The methods, `Chat` among them by a handler that reads and writes at once."""
        mapping: dict[str, Handler] = super().__mapping__()
        mapping["/chat.ChatService/Chat"] = Handler(
            self._chat, Cardinality.STREAM_STREAM, ChatStream, ChatStream
        )
        return mapping

    async def get_user(self, get_user_request: GetUserRequest) -> GetUserResponse:
        """Returns a user."""
        user_id = get_user_request.user_id
        self._hub.rules.identifier(user_id, "user_id")
        user = await _read(self._hub.store.get_user(user_id))
        if user is None:
            raise NotFound(f"user_id: there is no user {user_id}")
        return GetUserResponse(user=user)

    async def upsert_user(self, upsert_user_request: UpsertUserRequest) -> UpsertUserResponse:
        """Creates or updates a user."""
        request, rules = upsert_user_request, self._hub.rules
        rules.identifier(request.user_id, "user_id")
        rules.identifier(request.name, "name")
        rules.email(request.email, "email")
        try:
            user = await self._hub.store.upsert_user(request.user_id, request.name, request.email)
        except StoreError as error:
            raise StorageFailed from error
        return UpsertUserResponse(user=user)

    async def list_users(self, list_users_request: ListUsersRequest) -> ListUsersResponse:
        """Returns a page of users."""
        limit = self._page_size(list_users_request.page_size, "page_size")
        # One more than asked for shows whether there is a further page.
        users = await _read(self._hub.store.list_users(list_users_request.page_token, limit + 1))
        token = users[limit - 1].id if len(users) > limit else ""
        return ListUsersResponse(users=users[:limit], next_page_token=token)

    async def get_chat_history(
        self, get_chat_history_request: GetChatHistoryRequest
    ) -> GetChatHistoryResponse:
        """Returns a page of a room's messages."""
        request, hub = get_chat_history_request, self._hub
        hub.rules.identifier(request.room_id, "room_id")
        span = Range(self._page_size(request.limit, "limit"), request.before_seq, request.after_seq)
        page = await _read(hub.store.history(request.room_id, span))
        return GetChatHistoryResponse(page.messages, page.has_more, hub.store.epoch)

    def _page_size(self, asked: int, path: str) -> int:
        self._hub.rules.not_negative(asked, path)
        return min(asked or DEFAULT_PAGE, LARGEST_PAGE)

    async def _chat(self, stream: Stream[ChatStream, ChatStream]) -> None:
        await ChatConnection(self._hub).run(stream)


class ChatConnection(Conversation):
    """One `Chat` stream."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub, hub.config.mailbox_bytes)
        # The request ids of messages that are on their way to the disk.
        self._unanswered: dict[_Key, list[str | None]] = {}

    async def receive(self, request: ChatStream) -> None:
        """Handles one message of the client."""
        try:
            await self._dispatch(request)
        except ChatError as error:
            self._put(ChatStream(error=error.to_message(), request_id=request.request_id))

    def deliver(self, delivery: Delivery) -> None:
        """Puts a message of a room into the mailbox, as an answer if it is one."""
        request_id = self._answered(delivery.message) if self._unanswered else None
        if request_id is None:
            self.put(delivery.for_client)
        else:
            self._put(ChatStream(chat_message=delivery.message, request_id=request_id))

    async def _dispatch(self, request: ChatStream) -> None:
        payload = codec.member_of(request, "payload")
        match payload:
            case ChatMessage():
                await self._send(payload, request.request_id)
            case Join():
                await self._join(payload, request.request_id)
            case Leave():
                self.hub.rules.identifier(payload.room_id, "leave.room_id")
                self.hub.leave(self, payload.room_id)
                self._put(ChatStream(left=Left(payload.room_id), request_id=request.request_id))
            case _:
                raise InvalidArgument("payload", "expected one of chat_message, join, leave")

    async def _send(self, message: ChatMessage, request_id: str | None) -> None:
        self.hub.rules.message(message)
        self._check_room(message.room_id)
        await self.hub.enter(self, message.room_id)
        future = self.hub.send(self, [message])
        key = _key(message)
        self._unanswered.setdefault(key, []).append(request_id)
        future.add_done_callback(lambda done: self._stored(key, done))
        self.expect(future)

    async def _join(self, join: Join, request_id: str | None) -> None:
        self.hub.rules.identifier(join.room_id, "join.room_id")
        self._check_room(join.room_id)
        await self.hub.join(
            self,
            join,
            answer=lambda joined: self._put(ChatStream(joined=joined, request_id=request_id)),
            replay=self._replay,
            limit=self.hub.config.replay_messages,
        )

    def _replay(self, message: ChatMessage) -> None:
        self.deliver(Delivery(message))

    def _check_room(self, room_id: str) -> None:
        limit = self.hub.config.limits.rooms_per_stream
        if room_id not in self.rooms and len(self.rooms) >= limit:
            raise ResourceExhausted(f"a connection may be in at most {limit} rooms")

    def _stored(self, key: _Key, done: asyncio.Future[list[Appended]]) -> None:
        """Answers what no delivery answered: a repeated, a failed or an unseen message."""
        if key not in self._unanswered or done.cancelled():
            return
        request_id = self._pop(key)
        if done.exception() is not None:
            error = StorageFailed().to_message()
            self._put(ChatStream(error=error, request_id=request_id))
        else:
            [appended] = done.result()
            self._put(ChatStream(chat_message=appended.message, request_id=request_id))

    def _answered(self, message: ChatMessage) -> str | None:
        key = _key(message)
        return self._pop(key) if key in self._unanswered else None

    def _pop(self, key: _Key) -> str | None:
        waiting = self._unanswered[key]
        request_id = waiting.pop(0)
        if not waiting:
            del self._unanswered[key]
        return request_id

    def _put(self, message: ChatStream) -> None:
        self.put(codec.encode(message))


async def _read(reading: Awaitable[T]) -> T:
    try:
        return await reading
    except StoreError as error:
        log.exception("store unreadable")
        raise Unavailable("the store could not be read") from error


def _key(message: ChatMessage) -> _Key:
    fields = codec.fields_of(message)
    return fields["room_id"], fields["sender_id"], fields["id"]
