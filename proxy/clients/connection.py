"""One connection: a frame in, what it asks done, the answer out.

The frames of one connection are handled in order, each before the next is read:
a client that asks for more than it can be given is held back by its own socket.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import betterproto
from aiohttp import ClientConnectionResetError, WSMsgType, web

from gen.chat import (
    ChatMessage,
    Error,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
    Join,
    Joined,
    Left,
    ServerFrame,
)
from hosting.logs import get_logger
from hosting.metadata import of_request, shortened
from hosting.rate_limits import AnyAllowance
from hosting.tracing import spans
from proxy import errors
from proxy.clients.intake import Intake
from proxy.clients.replay import Replay
from proxy.clients.session import (
    Action,
    Ask,
    EnterRoom,
    Expel,
    LeaveRoom,
    Refuse,
    Renew,
    Send,
    Session,
    price_of_wrong,
)
from proxy.clients.socket import Line
from proxy.clients.turns import Turns, Work
from proxy.config import Config
from proxy.core import frames
from proxy.core.call_table import Call
from proxy.core.client import Caller, Client
from proxy.core.rooms import Room
from proxy.core.switchboard import Switchboard
from proxy.errors import Refused
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)

_ENDS: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
# How soon it is noticed that a client is gone for whom nothing is read for a while.
_PAY_SECONDS: Final = 1.0


class MakeCall(Protocol):
    """Makes a unary call."""

    async def __call__(self, call: Call, request: Any, caller: Caller | None = None) -> Any:
        """Returns the response message.

        Args:
            call: the call.
            request: its request message.
            caller: the client on whose behalf, if it has a token.

        Raises:
            Refused: the server refused, or did not answer before the deadline.
        """


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of a proxy share.

    Attributes:
        config: the settings.
        switchboard: the clients, and what is between them and the server.
        make_call: makes a unary call.
        calls: the unary calls, by the fields that ask for them.
        metrics: counts what happens.
        turns: gives turns to clients that ask for much.
    """

    config: Config
    switchboard: Switchboard
    make_call: MakeCall
    calls: dict[str, Call]
    metrics: ProxyMetrics
    turns: Turns = field(default_factory=Turns)


class Connection(Line):
    """One client: what it asks is done.

    Args:
        shared: what all connections share.
        socket: the WebSocket.
        request: its handshake.
        charges: what it may do.
        intake: what its bytes come by, if that is known.
    """

    def __init__(
        self,
        shared: Shared,
        socket: web.WebSocketResponse,
        request: web.Request,
        charges: AnyAllowance,
        intake: Intake | None,
    ) -> None:
        config = shared.config
        super().__init__(socket, request, config, shared.switchboard, shared.metrics, intake)
        self._work = Work(shared.turns)
        self._make_call = shared.make_call
        self._calls = shared.calls
        self._session = Session(
            config.frame_bytes,
            config.rooms_per_connection,
            shared.calls,
            config.users_per_connection,
            allowance=charges,
        )
        self.rooms = self._session.rooms
        self.users = self._session.users

    async def introduce(self, token: str | None) -> None:
        """Presents the client to the server, if it has a token; one that may not stay is closed."""
        if token is None:
            if self._switchboard.tokens_required:
                self.dismiss(errors.unauthenticated())
            else:
                self._switchboard.guests.add(self)
            return
        self._busy = True
        try:
            self.caller, answer = await self._switchboard.callers.introduce(token, self.dismiss)
        except Refused as refused:
            self.dismiss(refused.error)
        else:
            log.debug("client introduced", client=self.caller.number)
            self._expire_at(answer.expires_at)
        finally:
            self._busy = False

    def told_to_wait(self) -> None:
        """Notes a refusal by the server; who goes on regardless is closed."""
        if not self._session.refused():
            self._expel()

    async def serve(self) -> None:
        """Handles the client's frames until the connection is closed."""
        self._task = asyncio.current_task()
        receive = self._socket.receive
        work = self._work
        while (kind := (frame := await receive()).type) not in _ENDS:
            self._silent = 0
            self.story.frames += 1
            if work.add(1):
                # `receive` does not yield while there is a frame.
                await work.rest()
            if kind is WSMsgType.TEXT and self._reading:
                try:
                    action = self._session.receive(frame.data)
                except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._switchboard.faults.log("frame failed", error)
                    action = Refuse(errors.internal(), None)
                if type(action) is Send and self._may_send_at_once(action):
                    self._send(action)
                else:
                    if type(action) is Refuse:
                        # What is wrong may have taken long to read.
                        work.add(price_of_wrong(frame.data))
                    await self._handle(action)
            elif kind is WSMsgType.PING:
                self.write(frames.pong(frame.data))
            elif kind is WSMsgType.BINARY:
                await self._handle(self._session.receive_binary(frame.data))

    def _may_send_at_once(self, action: Send) -> bool:
        if self.caller is not None:
            message = action.message
            # Known by this name to the server, so that the answer is recognised.
            message.sender_id = message.sender_id or self.caller.user_id
            if message.room_id not in self.rooms:
                return False
        return self._switchboard.sends.is_calm

    def _send(self, action: Send, *, enter: bool = True) -> None:
        try:
            self._switchboard.send(self, action.message, action.request_id, enter=enter)
        except Refused as refused:
            self._refuse(refused.error, action.request_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._switchboard.faults.log("frame failed", error, action="Send", **_named(action))
            self._fail(action)

    async def _handle(self, action: Action) -> None:
        if not self._reading:
            return
        with of_request(action.request_id):
            await self._handle_named(action)

    async def _handle_named(self, action: Action) -> None:
        self._busy = True
        try:
            await self._act(action)
        except Refused as refused:
            self._refuse(refused.error, action.request_id)
            if refused.error.retry_after_ms is not None:
                self.told_to_wait()
        except asyncio.CancelledError:
            if not (self._leaving and self._task is not None and self._task.uncancel() == 0):
                raise
        except ClientConnectionResetError:
            log.debug("client gone")
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._switchboard.faults.log("frame failed", error, action=type(action).__name__)
            self._fail(action)
        finally:
            self._busy = False

    def _fail(self, action: Action) -> None:
        """Answers with a fixed text, whatever went wrong; the connection goes on."""
        self._refuse(errors.internal(), action.request_id)

    def _refuse(self, error: Error, request_id: str | None) -> None:
        if self.may_tell(error):
            log.debug("frame refused", code=error.code.name)
        self.write(frames.error(self._metrics.refused(error), request_id))

    async def _act(self, action: Action) -> None:
        match action:
            case Send(message):
                may_read = message.room_id in self.rooms or await self._admitted(
                    message.room_id, "chat_message.room_id"
                )
                await self._calm()
                if self._reading:
                    self._send(action, enter=may_read)
            case EnterRoom(join, request_id):
                if not await self._admitted(join.room_id, "join.room_id"):
                    text = "the token does not allow to read this room"
                    raise Refused(errors.denied(f"join.room_id: {text}"))
                with spans.span("join"):
                    await self._enter(join, request_id)
            case Renew(token, request_id):
                await self._renew(token, request_id)
            case LeaveRoom(room_id, request_id):
                self._switchboard.leave(self, room_id)
                self._answer(ServerFrame(left=Left(room_id), request_id=request_id))
            case Ask(field, request, request_id):
                await self._ask(field, request, request_id)
            case Refuse(error, request_id):
                self._refuse(error, request_id)
            case Expel(error, request_id):
                self._refuse(error, request_id)
                self._expel()

    async def _ask(self, field: str, request: betterproto.Message, request_id: str | None) -> None:
        call = self._calls[field]
        response = await self._make_call(call, request, self.caller)
        if isinstance(response, GetChatHistoryResponse):
            self._session.read_history(len(response.messages))
        frame = ServerFrame(request_id=request_id)
        setattr(frame, call.answer, response)
        await self.write_out(frame)

    async def _admitted(self, room_id: str, path: str) -> bool:
        """Whether the client may get a room's messages.

        Raises:
            Refused: the server could not be asked, or does not believe the client.
        """
        if self.caller is None:
            return True
        if not room_id:
            raise Refused(errors.invalid(f"{path}: must not be empty"))
        return (await self._switchboard.callers.admit(self.caller, room_id)).may_read

    async def _renew(self, token: str, request_id: str | None) -> None:
        if self.caller is None:
            raise Refused(errors.invalid("authenticate: this connection began without a token"))
        answer = await self._switchboard.callers.renew(self.caller, token)
        self._expire_at(answer.expires_at)
        await self._leave_forbidden_rooms()
        self._answer(ServerFrame(authenticated=answer, request_id=request_id))

    async def _leave_forbidden_rooms(self) -> None:
        """Leaves what the token does not allow to read, and what nobody could be asked about.

        Raises:
            Refused: somebody could not be asked.
        """
        unsure = set(self.rooms)
        try:
            for room_id in tuple(unsure):
                if await self._still_admitted(room_id):
                    unsure.discard(room_id)
        finally:
            for room_id in unsure & self.rooms:
                self._switchboard.leave(self, room_id)
                self._answer(ServerFrame(left=Left(room_id)))

    async def _still_admitted(self, room_id: str) -> bool:
        """Whether the client may stay; it did not ask, and is not put out for asking too often."""
        while not self.gone:
            try:
                return await self._admitted(room_id, "room_id")
            except Refused as refused:
                if refused.error.retry_after_ms is None:
                    raise
                await asyncio.sleep(refused.error.retry_after_ms / 1000)
        return False

    async def _calm(self) -> None:
        """Waits while the server is slow to confirm, as long as the client is there.

        Raises:
            ClientConnectionResetError: the client is gone.
        """
        sends = self._switchboard.sends
        while not sends.is_calm:
            # aiohttp tells nobody who waits for something else that a client is gone.
            if self.gone:
                raise ClientConnectionResetError("the client is gone")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.heartbeat_seconds):
                    await sends.calm()

    async def _enter(self, join: Join, request_id: str | None) -> None:
        # Joining again starts over.
        room_id = join.room_id
        self._switchboard.leave(self, room_id)
        with self._switchboard.entering(room_id) as room:
            await self._switchboard.live_room(room)
            if room.is_behind(join):
                await self._catch_up(room, join.after_seq or 0)
            if self.gone:
                # Or dismissed: it came before it was known that the server asks for tokens.
                return
            replay = room.can_replay(join, self._config.replay_messages)
            joined = Joined(room.room_id, room.epoch, room.last_seq, replay)
            self._answer(ServerFrame(joined=joined, request_id=request_id))
            whole = replay and await Replay(self, room, self._page, self._work).run(
                join.after_seq or 0
            )
            self._metrics.joined(asked=join.after_seq is not None, recovered=whole)
            if replay and not whole:
                joined = Joined(room.room_id, room.epoch, room.last_seq, recovered=False)
                self._answer(ServerFrame(joined=joined))
            if not self.gone:
                self._switchboard.admit(self, room)

    async def _catch_up(self, room: Room[Client], seq: int) -> None:
        """Waits for what the client has had from another proxy, which is ahead of this one.

        Nothing is waited for that the server does not have either.

        Raises:
            Refused: the server could not be asked, or this proxy stays behind.
        """
        call = self._calls["get_chat_history"]
        request = GetChatHistoryRequest(room.room_id, 1, after_seq=seq - 1)
        page = await self._make_call(call, request, self.caller)
        if page.epoch == room.epoch and [message.seq for message in page.messages] == [seq]:
            await self._switchboard.reached(room, seq)

    async def _page(self, request: GetChatHistoryRequest) -> list[ChatMessage]:
        call = self._calls["get_chat_history"]
        await self._pay(self._session.read_history(0))
        try:
            response = await self._make_call(call, request, self.caller)
        except Refused as refused:
            # The client was told that it is in the room, so it will be; what it
            # misses, it can page through later.
            log.warning("replay given up", room_id=request.room_id, reason=str(refused))
            return []
        messages: list[ChatMessage] = response.messages
        self._metrics.replayed += len(messages)
        self._session.read_history(len(messages))
        return messages

    async def _pay(self, seconds: float) -> None:
        """Waits until a client has paid for what was read for it, as long as it is there."""
        while seconds > 0 and not self.gone:
            await asyncio.sleep(min(seconds, _PAY_SECONDS))
            seconds -= _PAY_SECONDS


def _named(action: Send) -> dict[str, str]:
    """The request id of a send as it is logged, if it has one."""
    return {} if action.request_id is None else {"request_id": shortened(action.request_id)}
