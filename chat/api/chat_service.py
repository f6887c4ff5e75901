"""The handlers of `ChatService`: thin, they translate."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from grpclib.const import Handler
from grpclib.server import Stream

from chat.access.identity import Identity
from chat.api.chat_stream import ChatConversation
from chat.api.context import Context
from chat.api.handlers import Handle, handlers
from chat.api.message_calls import MessageCalls
from chat.api.quotas import charge
from chat.api.room_calls import RoomCalls
from chat.core.room_rules import check_ids
from chat.core.store_errors import or_not_stored, or_unavailable
from chat.errors import InvalidArgument, NotFound, RateLimited
from chat.storage.base import Range
from gen.chat import (
    ChatServiceBase,
    ChatStream,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
    GetUserRequest,
    GetUserResponse,
    ListUsersRequest,
    ListUsersResponse,
    UpsertUserRequest,
    UpsertUserResponse,
    User,
)
from hosting.grpc.connections import connection_of, expel
from hosting.logs import get_logger
from hosting.rate_limits import CALLS

log = get_logger(__name__)

_Method = Callable[[Identity, Any], Awaitable[Any]]


class ChatService:
    """`chat.ChatService`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.hub.store
        self._messages = MessageCalls(context)
        self._rooms = RoomCalls(context)

    def __mapping__(self) -> dict[str, Handler]:
        """The methods of the schema; grpclib asks for them."""
        served: dict[str, Handle] = {
            "Chat": self._chat,
            "GetUser": self._unary(self._get_user),
            "GetChatHistory": self._unary(self._get_chat_history),
            "UpsertUser": self._unary(self._upsert_user),
            "ListUsers": self._unary(self._list_users),
            "ListRooms": self._unary(self._rooms.list_rooms),
            "SetRoom": self._unary(self._rooms.set_room),
            "ListMembers": self._unary(self._rooms.list_members),
            "ChangeMessage": self._unary(self._messages.change_message),
            "GetChanges": self._unary(self._messages.get_changes),
            "ListReactions": self._unary(self._messages.list_reactions),
            "MarkRead": self._unary(self._messages.mark_read),
            "EraseUser": self._unary(self._messages.erase_user),
        }
        return handlers(ChatServiceBase(), served)

    def _unary(self, method: _Method) -> Handle:
        async def handle(stream: Stream[Any, Any]) -> None:
            caller = self._context.authenticate(stream)
            # Read before it may be refused: to refuse a call that is still being sent also
            # resets it, and then some clients do not see when to come back.
            request = await stream.recv_message()
            self._charge(caller, stream)
            await stream.send_message(await method(caller, request))

        return handle

    def _charge(self, caller: Identity, stream: Stream[Any, Any]) -> None:
        """Charges a call; cuts off a client that goes on after many refusals."""
        quotas = self._context.quotas
        connection = connection_of(stream)
        allowance = quotas.of(caller, connection)
        try:
            charge(allowance.calls, CALLS)
        except RateLimited as refusal:
            # The connection of a proxy is that of others, too: it cuts off its client.
            if not quotas.is_exempt(connection) and allowance.refusals.take(time.monotonic()):
                log.info("client cut off that goes on although it was told to wait")
                expel(stream)
            raise refusal from None

    async def _get_user(self, caller: Identity, request: GetUserRequest) -> GetUserResponse:
        user_id = request.user_id
        self._context.rules.identifier(user_id, "user_id")
        user = await or_unavailable(self._store.get_user(user_id))
        if user is None:
            raise NotFound(f"user_id: there is no user {user_id}")
        return GetUserResponse(user=_seen_by(caller, user))

    async def _upsert_user(
        self, caller: Identity, request: UpsertUserRequest
    ) -> UpsertUserResponse:
        rules = self._context.rules
        rules.identifier(request.user_id, "user_id")
        rules.identifier(request.name, "name")
        rules.email(request.email, "email")
        rules.tone(request.tone, "tone")
        caller.check_owner(request.user_id, "user_id")
        await self._context.legacy_ids.check_user(request.user_id, "user_id")
        await self._context.legacy_ids.check_name(request.user_id, request.name, "name")
        storing = self._store.upsert_user(
            request.user_id, request.name, request.email, request.tone
        )
        return UpsertUserResponse(user=await or_not_stored(storing, "user"))

    async def _list_users(self, caller: Identity, request: ListUsersRequest) -> ListUsersResponse:
        limit = self._page_size(request.page_size, "page_size")
        if request.user_ids:
            return await self._get_users(caller, request)
        # One more than asked for shows whether there is a further page.
        users = await or_unavailable(self._store.list_users(request.page_token, limit + 1))
        token = users[limit - 1].id if len(users) > limit else ""
        seen = [_seen_by(caller, user) for user in users[:limit]]
        return ListUsersResponse(users=seen, next_page_token=token)

    async def _get_users(self, caller: Identity, request: ListUsersRequest) -> ListUsersResponse:
        check_ids(self._context.rules, request.user_ids, "user_ids")
        if request.page_token:
            raise InvalidArgument("page_token", "must be empty with user_ids: all are on one page")
        users = await or_unavailable(self._store.get_users(request.user_ids))
        users.sort(key=lambda user: user.id)
        return ListUsersResponse([_seen_by(caller, user) for user in users])

    async def _get_chat_history(
        self, caller: Identity, request: GetChatHistoryRequest
    ) -> GetChatHistoryResponse:
        self._context.rules.identifier(request.room_id, "room_id")
        caller.check_read(request.room_id, "room_id")
        span = Range(
            self._page_size(request.limit, "limit"),
            request.before_seq,
            request.after_seq,
        )
        page = await or_unavailable(self._store.history(request.room_id, span))
        epoch, last_change = self._store.epoch, page.last_change or None
        return GetChatHistoryResponse(page.messages, page.has_more, epoch, last_change)

    def _page_size(self, asked: int, path: str) -> int:
        return self._context.rules.page_size(asked, path)

    async def _chat(self, stream: Stream[ChatStream, ChatStream]) -> None:
        caller = self._context.authenticate(stream)
        await ChatConversation(self._context, caller, stream).run(stream)


def _seen_by(caller: Identity, user: User) -> User:
    """A user as a caller may see it."""
    return user if caller.owns(user.id) else replace(user, email="")
