"""One connection: a frame in, its request carried out, the answer out.

The frames of one connection are handled in order, each before the next is read: a client
that asks for more than it can be given is held back by its own socket.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

import betterproto
from aiohttp import ClientConnectionResetError, WSMsgType, web

import codec
from gen.chat import (
    ChangeMessageResponse,
    ChatMessage,
    Error,
    GetChangesResponse,
    GetChatHistoryResponse,
    Join,
    Left,
    ListRoomsRequest,
    ListRoomsResponse,
    ServerFrame,
)
from hosting.logs import get_logger
from hosting.metadata import of_request, shortened
from hosting.rate_limits import AnyAllowance
from hosting.tracing import spans
from proxy import errors
from proxy.clients.actions import (
    Action,
    Ask,
    EnterRoom,
    Expel,
    LeaveRoom,
    Refuse,
    Renew,
    Send,
    Type,
)
from proxy.clients.context import Context
from proxy.clients.intake import Intake
from proxy.clients.joining import Joining
from proxy.clients.permissions import Permissions
from proxy.clients.session import Session, price_of_wrong
from proxy.clients.socket import ClientSocket, State
from proxy.clients.turns import Work
from proxy.core import frames
from proxy.core.client import Caller, Client
from proxy.errors import CloseCode, Refused

log = get_logger(__name__)

_OPEN: Final = State.OPEN
_ENDS: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)

# A search of rooms costs the server as much as to read so many messages, whatever it finds.
_SEARCH_PRICE: Final = 100


class Connection(Client):
    """One client: its frames are read, and its requests carried out.

    Args:
        context: the parts that all connections share.
        websocket: aiohttp's WebSocket.
        request: its handshake.
        charges: its allowances.
        intake: the way of its bytes, if there is one.

    Attributes:
        socket: writes to the client, and ends the connection.
    """

    def __init__(
        self,
        context: Context,
        websocket: web.WebSocketResponse,
        request: web.Request,
        charges: AnyAllowance,
        intake: Intake | None,
    ) -> None:
        config, switchboard = context.config, context.switchboard
        self.socket = ClientSocket(
            websocket,
            request,
            config,
            context.metrics,
            switchboard.faults,
            intake,
            on_close=lambda: switchboard.close(self),
        )
        # Not a method: the fan-out calls it for each delivery.
        self.write = self.socket.write
        self.write_news = self.socket.write_news
        self.connection_id = self.socket.record.connection_id
        self._context = context
        self._switchboard = switchboard
        self._metrics = context.metrics
        self._permissions = Permissions(self, self.socket, switchboard)
        self._work = Work(context.turns)
        # Exists while a request is carried out, and can interrupt it.
        self._busy: asyncio.Timeout | None = None
        self._session = Session(
            config.frame_bytes,
            config.rooms_per_connection,
            context.calls,
            config.users_per_connection,
            allowance=charges,
        )
        self.rooms = self._session.rooms
        self.users = self._session.users

    # As the switchboard sees it.

    def count_refusal(self, error: Error) -> bool:
        """See `Client`: of each kind of error the first is logged, the others are counted."""
        return self.socket.record.refusals.add(error.code.name or str(int(error.code)))

    def note_rate_limited(self) -> None:
        """See `Client`: a client that goes on regardless is closed."""
        if not self._session.charge_refusal():
            self._expel()

    def dismiss(self, error: Error) -> None:
        """See `Client`."""
        code = CloseCode.UNAVAILABLE if error.retryable else CloseCode.BAD_TOKEN
        self.socket.close(code, error.message)

    # As the listener sees it.

    async def authenticate(self, token: str | None) -> None:
        """Sends the token to the server; closes the connection if it is not valid."""
        await self._do(self._permissions.authenticate(token))

    async def serve(self) -> None:
        """Handles the client's frames until the connection is closed."""
        socket, work = self.socket, self._work
        receive, record = socket.receive, socket.record
        while (kind := (frame := await receive()).type) not in _ENDS:
            record.frames += 1
            if work.add(1):
                # `receive` does not yield while there is a frame.
                await work.rest()
            if kind is WSMsgType.TEXT and socket.state is _OPEN:
                try:
                    action = self._session.receive(frame.data)
                except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._switchboard.faults.log("frame failed", error)
                    action = Refuse(errors.internal(), None)
                if type(action) is Send and self.caller is not None:
                    _fill_in_sender(action.message, self.caller)
                if type(action) is Send and self._may_send_at_once(action.message):
                    self._send(action)
                else:
                    if type(action) is Refuse:
                        # A wrong frame may have taken long to read.
                        work.add(price_of_wrong(frame.data))
                    await self._handle(action)
            elif kind is WSMsgType.PING:
                self.write(frames.pong(frame.data))
            elif kind is WSMsgType.BINARY:
                await self._handle(self._session.receive_binary(frame.data))
        await socket.break_off()

    def beat(self) -> None:
        """Notes that half a heartbeat has passed."""
        self.socket.beat(busy=self._busy is not None)

    async def go_away(self, seconds: float) -> None:
        """Closes the connection because the proxy is about to stop.

        Args:
            seconds: the time that the client has to read and answer that.
        """
        self.socket.go_away()
        if self._busy is not None:
            # It may be waiting for the server, longer than a stop may take.
            self._busy.reschedule(asyncio.get_running_loop().time())
        await self.socket.wait_closed(seconds)

    def end(self) -> None:
        """Notes that no more frames are read."""
        self._permissions.end()
        self.socket.end()

    # One frame.

    def _may_send_at_once(self, message: ChatMessage) -> bool:
        if self.caller is not None and message.room_id not in self.rooms:
            return False
        return self._switchboard.sends.is_writable

    def _send(self, action: Send, *, enter: bool = True) -> None:
        try:
            self._switchboard.send(self, action.message, action.request_id, enter=enter)
        except Refused as refused:
            self._refuse(refused.error, action.request_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._switchboard.faults.log("frame failed", error, action="Send", **_named(action))
            self._fail(action)

    async def _handle(self, action: Action) -> None:
        if self.socket.state is not _OPEN:
            return
        with of_request(action.request_id):
            try:
                await self._do(self._act(action))
            except Refused as refused:
                self._refuse(refused.error, action.request_id)
                if refused.error.retry_after_ms is not None:
                    self.note_rate_limited()
            except ClientConnectionResetError:
                log.debug("client gone")
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._switchboard.faults.log("frame failed", error, action=type(action).__name__)
                self._fail(action)

    async def _do(self, work: Awaitable[None]) -> None:
        """Carries something out for the client, unless the proxy stops meanwhile."""
        self._busy = busy = asyncio.timeout(None)
        try:
            async with busy:
                await work
        except TimeoutError:
            if not busy.expired():
                raise
        finally:
            self._busy = None

    def _fail(self, action: Action) -> None:
        """Answers with a fixed text after a defect; the connection goes on."""
        self._refuse(errors.internal(), action.request_id)

    def _refuse(self, error: Error, request_id: str | None) -> None:
        if self.count_refusal(error):
            log.debug("frame refused", code=error.code.name)
        self.write(frames.error(self._metrics.count_error(error), request_id))

    async def _act(self, action: Action) -> None:
        match action:
            case Ask(field, request, request_id):
                await self._ask(field, request, request_id)
            case Send(message):
                may_read = message.room_id in self.rooms or await self._permissions.may_read(
                    message.room_id, "chat_message.room_id"
                )
                await self._wait_writable()
                if self.socket.state is _OPEN:
                    self._send(action, enter=may_read)
            case EnterRoom(join, request_id):
                await self._enter(join, request_id)
            case Renew(token, request_id):
                answer = await self._permissions.renew(token)
                self.socket.write_frame(ServerFrame(authenticated=answer, request_id=request_id))
            case LeaveRoom(room_id, request_id):
                self._switchboard.rooms.leave(self, room_id)
                self.socket.write_frame(ServerFrame(left=Left(room_id), request_id=request_id))
            case Type():
                self._type(action)
            case Refuse(error, request_id) | Expel(error, request_id):
                self._refuse(error, request_id)
                if isinstance(action, Expel):
                    self._expel()

    async def _enter(self, join: Join, request_id: str | None) -> None:
        if join.user_id and not self.may_be(join.user_id):
            text = "must be the subject of the token, or left out"
            raise Refused(errors.denied(f"join.user_id: {text}"))
        if not await self._permissions.may_read(join.room_id, "join.room_id"):
            text = "the token does not allow to read this room"
            raise Refused(errors.denied(f"join.room_id: {text}"))
        with spans.span("join"):
            joining = Joining(self._context, self, self.socket, self._session, self._work)
            await joining.run(join, request_id)

    def _type(self, typing: Type) -> None:
        user_id = self._permissions.typist(typing)
        if self._session.may_type(typing.room_id):
            self._switchboard.types(typing.room_id, user_id)

    async def _ask(self, field: str, request: betterproto.Message, request_id: str | None) -> None:
        call = self._context.calls[field]
        response = await self._context.make_call(call, request, self.caller)
        if type(response) is ChangeMessageResponse:
            # As most are.
            payload = self._context.changed.payload(response, request_id)
            await self.socket.send_and_wait(payload)
            return
        if isinstance(response, GetChatHistoryResponse):
            self._session.charge_history(len(response.messages))
        elif isinstance(response, GetChangesResponse):
            self._session.charge_history(len(response.changes.messages))
        elif isinstance(response, ListRoomsResponse):
            # Each has its newest message. A search looks at many that it does not find.
            searched = isinstance(request, ListRoomsRequest) and request.query
            self._session.charge_history(len(response.rooms) + (_SEARCH_PRICE if searched else 0))
        frame = ServerFrame(request_id=request_id)
        setattr(frame, call.answer, response)
        await self.socket.send_and_wait(codec.to_json(frame))

    async def _wait_writable(self) -> None:
        """Waits while the server is slow to confirm, as long as the client is there.

        Raises:
            ClientConnectionResetError: the client is gone.
        """
        sends = self._switchboard.sends
        while not sends.is_writable:
            # aiohttp does not wake a task that waits for something else when a client goes.
            if self.socket.is_gone:
                raise ClientConnectionResetError("the client is gone")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._context.config.heartbeat_seconds):
                    await sends.wait_writable()

    def _expel(self) -> None:
        if not self.socket.is_gone:
            log.info(
                "client closed that goes on although it was told to wait",
                connection=self.connection_id,
            )
        self.socket.close(CloseCode.TOO_MANY_REQUESTS, "too many requests")


def _fill_in_sender(message: ChatMessage, caller: Caller) -> None:
    if not message.sender_id:
        # Here and not by the server: the confirmation is found by room, sender and id.
        message.sender_id = caller.user_id


def _named(action: Send) -> dict[str, str]:
    """Returns the request id of a send as it is logged, if it has one."""
    return {} if action.request_id is None else {"request_id": shortened(action.request_id)}
