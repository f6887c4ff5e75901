"""One `Chat` stream of a client: its requests, and the answers in their order."""

import asyncio
import time
from collections import deque
from typing import Final

from grpclib.server import Stream

import codec
from chat.access.identity import Identity
from chat.api.context import Context, authenticated_message
from chat.api.conversation import Bounds, Conversation
from chat.api.extras import admit_extra
from chat.api.quotas import charge
from chat.api.typing_turns import TypingTurns
from chat.core.encoded import EncodedMessage, Notice
from chat.core.extras import has_extra
from chat.core.membership import membership_of
from chat.core.store_errors import not_stored
from chat.errors import (
    ChatError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    RateLimited,
)
from chat.storage.base import MessageKey, StoreError, key_of
from gen.chat import Authenticate, ChatMessage, ChatStream, Join, Joined, Leave, Left, Typing
from hosting.grpc.connections import connection_of
from hosting.logs import get_logger
from hosting.metadata import shortened
from hosting.rate_limits import CALLS, JOINS, MESSAGES, Allowance

log = get_logger(__name__)

# How many characters of request ids of one stream may wait for the disk, and one more
# of them: as much as one request has.
_MOST_REQUEST_IDS: Final = 64 * 1024


class ChatConversation(Conversation[ChatStream]):
    """One `Chat` stream."""

    def __init__(
        self, context: Context, caller: Identity, call: Stream[ChatStream, ChatStream]
    ) -> None:
        config, limits = context.config, context.config.limits
        bounds = Bounds(config.mailbox_bytes, limits.rooms_per_stream, limits.users_per_stream)
        super().__init__(context, bounds, caller)
        self._connection = connection_of(call)
        # The request ids of messages that are on their way to the disk.
        self._unanswered: dict[MessageKey, deque[str | None]] = {}
        # How long all of those are.
        self._unanswered_size = 0
        self._typing_turns = TypingTurns()

    async def receive(self, request: ChatStream) -> None:
        """Handles one message of the client; a defect costs it that one alone.

        Raises:
            RateLimited: the client was refused too often, and goes on regardless.
        """
        try:
            await self._dispatch(request)
        except ChatError as error:
            self.context.metrics.errors[error.code] += 1
            if isinstance(error, RateLimited):
                charge(self._allowance.refusals, str(error))
            if self.refused.add(error.code):
                log.debug("request refused", code=error.code, **_named(request))
            self._put(ChatStream(error=error.to_message(), request_id=request.request_id))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._fail(request.request_id, error)

    def deliver(self, message: EncodedMessage) -> None:
        """Puts a message of a room into the mailbox, as an answer if it is one."""
        if self._unanswered:
            key = key_of(message.message)
            if key in self._unanswered:
                self.put(self._as_answer(message, self._unanswered[key][0]))
                self._pop(key)
                return
        self.put(message.for_client())

    def tell(self, notice: Notice) -> None:
        """See `LiveStream`."""
        self.put(notice.for_client())

    def answer_missed(self, message: ChatMessage) -> None:
        """See `Conversation`."""
        key = key_of(message)
        if key in self._unanswered:
            self._put(ChatStream(error=Internal().to_message(), request_id=self._pop(key)))

    def tell_lost(self, joined: Joined) -> None:
        """See `Conversation`."""
        self._put(ChatStream(joined=joined))

    def stop_deliveries(self) -> None:
        """Leaves all rooms: a client that is slow to read would go on to hear of them."""
        for room_id in tuple(self.rooms):
            self.hub.remove_member(self, room_id)

    @property
    def _allowance(self) -> Allowance:
        return self.context.quotas.of(self.caller, self._connection)

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
                self.context.rules.identifier(payload.room_id, "leave.room_id")
                self.hub.leave(self, payload.room_id)
                self._put(ChatStream(left=Left(payload.room_id), request_id=request.request_id))
            case Typing():
                await self._type(payload)
            case Authenticate():
                self._authenticate(payload, request.request_id)
            case _:
                kinds = "chat_message, join, leave, authenticate, typing"
                raise InvalidArgument("payload", f"expected one of {kinds}")

    async def _send(self, message: ChatMessage, request_id: str | None) -> None:
        message.sender_id = self.caller.sender(message.sender_id, "chat_message.sender_id")
        may_be_new = self.context.rules.message(message)
        self.caller.check_write(message.room_id, "chat_message.room_id")
        self.check_user(message.sender_id, "chat_message.sender_id")
        if not may_be_new:
            await self.context.legacy_ids.check_message(message)
        if has_extra(message):
            await admit_extra(self.context, self.caller, message)
        if message.room_id in self.caller.reads:
            self.check_room(message.room_id, "chat_message.room_id")
            await self.hub.enter(self, message.room_id)
            self.hub.present.speaks(self, message.room_id, message.sender_id)
        while self._unanswered_size > _MOST_REQUEST_IDS and self._pending:
            # The write queue is counted without them.
            await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        await self.hub.store.wait_writable()
        came = time.monotonic()
        future = self.hub.send(self, [message])
        key = key_of(message)
        self._unanswered.setdefault(key, deque()).append(request_id)
        self._unanswered_size += len(request_id or "")
        future.add_done_callback(lambda done: self._stored(key, done, came))
        self.expect(future)

    async def _join(self, join: Join, request_id: str | None) -> None:
        self.context.rules.identifier(join.room_id, "join.room_id")
        self.caller.check_read(join.room_id, "join.room_id")
        self.check_room(join.room_id, "join.room_id")
        user_id = self.caller.sender(join.user_id, "join.user_id")
        if user_id:
            await self._check_seen(user_id, "join.user_id")
        await self.hub.join(
            self,
            join,
            membership_of(join, user_id),
            answer=lambda joined: self._put(ChatStream(joined=joined, request_id=request_id)),
            replay=self._replay,
            limit=self.context.config.replay_messages,
            user_id=user_id,
        )

    async def _type(self, typing: Typing) -> None:
        room_id = typing.room_id
        self.context.rules.identifier(room_id, "typing.room_id")
        self.caller.check_write(room_id, "typing.room_id")
        user_id = self.caller.sender(typing.user_id, "typing.user_id")
        await self._check_seen(user_id, "typing.user_id")
        if room_id not in self.rooms:
            raise FailedPrecondition("typing.room_id: is not joined")
        if self._typing_turns.take(room_id, time.monotonic()):
            self.hub.typing.types(self, room_id, user_id)
        else:
            self.context.metrics.typing_dropped += 1

    async def _check_seen(self, user_id: str, path: str) -> None:
        """Checks a user whom others are shown: it may not be a new id that looks like another."""
        self.context.rules.identifier(user_id, path)
        await self.context.legacy_ids.check_user(user_id, path)

    def _authenticate(self, request: Authenticate, request_id: str | None) -> None:
        caller = self.context.authenticator.verify(request.token)
        self.caller.check_same(caller, "authenticate.token")
        answer = authenticated_message(caller)
        self.caller = caller
        for room_id in tuple(self.rooms):
            if room_id not in caller.reads:
                self.hub.remove_member(self, room_id)
                self._put(ChatStream(left=Left(room_id)))
        self._put(ChatStream(authenticated=answer, request_id=request_id))

    def _as_answer(self, message: EncodedMessage, request_id: str | None) -> bytes:
        if request_id is None:
            return message.for_client()
        return codec.encode(ChatStream(chat_message=message.message, request_id=request_id))

    def _replay(self, message: ChatMessage) -> None:
        self.deliver(EncodedMessage(message))

    def _stored(
        self, key: MessageKey, done: asyncio.Future[list[ChatMessage]], came: float
    ) -> None:
        """Answers a message that no delivery answered: it is repeated, failed or unseen."""
        if not done.cancelled() and done.exception() is None:
            self.context.metrics.delivery_seconds.observe(time.monotonic() - came)
        if key not in self._unanswered or done.cancelled():
            return
        request_id = self._pop(key)
        try:
            [stored] = done.result()
            self._put(ChatStream(chat_message=stored, request_id=request_id))
        except StoreError as failure:
            error = not_stored(failure)
            self.context.metrics.errors[error.code] += 1
            self._put(ChatStream(error=error.to_message(), request_id=request_id))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._fail(request_id, error)

    def _fail(self, request_id: str | None, error: Exception) -> None:
        """Answers a request with INTERNAL; if not even that can be told, the stream ends."""
        self.context.metrics.errors[Internal.code] += 1
        self.context.faults.log("request failed", error)
        try:
            self._put(ChatStream(error=Internal().to_message(), request_id=request_id))
        except Exception as worse:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.failed("client not told of a failure", worse)

    def _pop(self, key: MessageKey) -> str | None:
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
