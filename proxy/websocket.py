"""The WebSocket door: accept, read, write.

The frames of one connection are handled in order, each before the next is read:
a client that asks for more than it can be given is held back by its own socket.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

import codec
from daemon import tracing
from daemon.buckets import Allowance
from daemon.correlation import of_request, shortened
from gen.chat import ChatMessage, Error, GetChatHistoryRequest, Join, Joined, Left, ServerFrame
from gen.chat_codec import make_server_frame
from proxy import errors, frames, tokens
from proxy.admission import Admission
from proxy.calls import Call
from proxy.config import Config
from proxy.delivery import Client
from proxy.door import Visitor
from proxy.errors import CloseCode, Refused
from proxy.metrics import ProxyMetrics
from proxy.observe import Story, observed
from proxy.rooms import Room
from proxy.session import (
    Action,
    Ask,
    EnterRoom,
    Expel,
    LeaveRoom,
    Refuse,
    Renew,
    Send,
    Session,
)
from proxy.upstream import Upstream

log = structlog.get_logger(__name__)

# A frame up to this many times the limit is read and refused by an error; only a
# larger one closes the connection.
_READ_FACTOR: Final = 4
# How long a client that does not read is given to read why it was closed.
_LINGER_SECONDS: Final = 5.0
_LONGEST_TIMER_SECONDS: Final = 3600.0
# How long clients have to close when the time of a stop is up.
_LAST_WORDS_SECONDS: Final = 2.0
_REPLAY_PAGE: Final = 500
_ENDS: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
# After so many halves of a heartbeat without a frame.
_PING_AT: Final = 2
_DEAD_AT: Final = 3
# After so many frames of one client it is the others' turn.
_TURN_FRAMES: Final = 64


class Connections:
    """All open connections of a proxy.

    Args:
        config: the settings.
        upstream: the link to the server.
        calls: the unary calls, by the fields that ask for them.
        metrics: counts what happens.

    Attributes:
        admission: who may open one.
    """

    def __init__(
        self,
        config: Config,
        upstream: Upstream,
        calls: dict[str, Call],
        metrics: ProxyMetrics | None = None,
    ) -> None:
        self.metrics = metrics or ProxyMetrics()
        self.config = config
        self.admission = Admission(config.admittance)
        self.upstream = upstream
        self.calls = calls
        self._open: set[Connection] = set()
        self._draining = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting_bytes(self) -> int:
        """How much waits in the sockets of all clients."""
        return sum(connection.waiting_bytes for connection in self._open)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serves one WebSocket until it is closed.

        Raises:
            aiohttp.web.HTTPException: it is not opened; see `Admission.admit`.
        """
        with self.admission.admit(request.remote or "", request.headers):
            return await self._serve(request)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            # Compressed, a small frame could be a very large one.
            compress=False,
            decode_text=False,
            # See `keep_alive`: a timer for each frame of each client is a lot.
            autoping=False,
            # See `Connection.end`.
            autoclose=False,
            max_msg_size=self.config.frame_bytes * _READ_FACTOR,
            protocols=(tokens.PROTOCOL,),
        )
        token = tokens.of_request(request.headers)
        await _shake_hands(socket, request)
        if self._draining:
            await socket.close(code=CloseCode.GOING_AWAY)
            return socket
        connection = Connection(self, socket, request)
        self._open.add(connection)
        self.metrics.opened += 1
        with observed(request, socket, connection.story):
            connection.traceparent = connection.story.traceparent
            try:
                await connection.introduce(token)
                await connection.serve()
            finally:
                self._open.discard(connection)
                self.metrics.closed[connection.close_code] += 1
                self.upstream.switchboard.close(connection)
                connection.end()
        return socket

    async def keep_alive(self) -> None:
        """Pings clients that are silent, and drops those that are dead, until cancelled.

        A client is silent when nothing has come from it for a heartbeat, and dead
        when nothing has come for another half.
        """
        while True:
            await asyncio.sleep(self.config.heartbeat_seconds / 2)
            self._check_pulses()

    def _check_pulses(self) -> None:
        for connection in tuple(self._open):
            connection.check_pulse()

    async def drain(self) -> None:
        """Lets what was sent be confirmed, then closes each connection with 1001.

        It takes `Config.drain_seconds` at most, and the last words of those who do
        not read.
        """
        self._draining = True
        for connection in self._open:
            connection.stop_reading()
        patience = self.config.drain_seconds
        deadline = asyncio.get_running_loop().time() + patience
        if not await self.upstream.switchboard.sends.all_settled(patience):
            log.warning("unconfirmed sends given up", after_seconds=patience)
        rest = deadline - asyncio.get_running_loop().time()
        closing = max(rest, min(patience, _LAST_WORDS_SECONDS))
        await asyncio.gather(*(connection.go_away(closing) for connection in tuple(self._open)))


async def _shake_hands(socket: web.WebSocketResponse, request: web.Request) -> None:
    """Opens a WebSocket.

    Raises:
        web.HTTPBadRequest: the request does not ask for one as RFC 6455, section 4.1,
            says; the answer names the version that is spoken (section 4.4).
    """
    try:
        await socket.prepare(request)
    except (web.HTTPBadRequest, ValueError):
        # aiohttp fails at a key that is not ASCII, and would repeat what it was sent.
        refusal = web.HTTPBadRequest(
            text="this is no handshake of a WebSocket\n", headers={"Sec-WebSocket-Version": "13"}
        )
        refusal.force_close()
        raise refusal from None
    if isinstance(request.protocol, Visitor):
        request.protocol.settle()


class Connection(Client):
    """One client.

    Attributes:
        story: what is told of it in the end.
    """

    def __init__(
        self, owner: Connections, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self.story = Story()
        self._owner = owner
        self._config = owner.config
        self._switchboard = owner.upstream.switchboard
        self._metrics = owner.metrics
        self._socket = socket
        self._session = Session(
            owner.config.frame_bytes,
            owner.config.rooms_per_connection,
            owner.calls,
            owner.config.users_per_connection,
            allowance=Allowance(owner.config.rates),
        )
        self.rooms = self._session.rooms
        self.users = self._session.users
        if request.transport is None:
            raise ClientConnectionResetError("the client is gone")
        self._transport = request.transport
        self._cut_off = False
        self._reading = True
        self._busy = False
        self._silent = 0
        self._leaving = False
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._end_of_token: asyncio.TimerHandle | None = None

    async def introduce(self, token: str | None) -> None:
        """Presents the client to the server, if it has a token; one that may not stay is closed."""
        if token is None:
            if self._switchboard.tokens_required:
                self.dismiss(errors.unauthenticated())
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

    def dismiss(self, error: Error) -> None:
        """Closes the connection: who it is, is not believed."""
        code = CloseCode.UNAVAILABLE if error.retryable else CloseCode.BAD_TOKEN
        self._cut(code, error.message)

    @property
    def close_code(self) -> int:
        """Why the connection has ended; 1006 if nobody said so (RFC 6455, section 7.1.5)."""
        return self.story.code or self._socket.close_code or WSCloseCode.ABNORMAL_CLOSURE

    @property
    def waiting_bytes(self) -> int:
        """How much waits in the socket."""
        return self._transport.get_write_buffer_size()

    def told_to_wait(self) -> None:
        """Notes a refusal by the server; who goes on regardless is closed."""
        if not self._session.refused():
            self._expel()

    def write(self, frame: bytes) -> None:
        """Queues a frame on the socket; cuts the client off if too much waits.

        It goes past aiohttp's writer, which would frame the same message anew
        for each receiver: there is no compression and no fragment that a frame
        could fall into the middle of.
        """
        if self._cut_off or self._socket.closed or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._config.mailbox_bytes:
            self._overflow()
            return
        self._transport.write(frame)

    async def serve(self) -> None:
        """Handles the client's frames until the connection is closed."""
        self._task = asyncio.current_task()
        try:
            await self._serve()
        finally:
            self._ended.set()
        if self._leaving:
            self._transport.close()

    async def _serve(self) -> None:
        receive = self._socket.receive
        handled = 0
        while (kind := (frame := await receive()).type) not in _ENDS:
            self._silent = 0
            handled += 1
            self.story.frames = handled
            if handled % _TURN_FRAMES == 0:
                # `receive` does not yield while there is a frame.
                await asyncio.sleep(0)
            if kind is WSMsgType.TEXT and self._reading:
                action = self._session.receive(frame.data)
                if type(action) is Send and self._may_send_at_once(action):
                    self._send(action)
                else:
                    await self._handle(action)
            elif kind is WSMsgType.PING:
                self.write(frames.pong(frame.data))
            elif kind is WSMsgType.BINARY:
                await self._handle(self._session.receive_binary())

    def check_pulse(self) -> None:
        """Notes that half a heartbeat has passed."""
        # While a frame is handled the next one is not read, be it an answer to a ping.
        self._silent = 0 if self._busy else self._silent + 1
        if self._silent == _PING_AT:
            self.write(frames.PING)
        elif self._silent >= _DEAD_AT:
            log.info("dead client dropped")
            self._metrics.dead_clients += 1
            log.info("dead client dropped", connection=self.story.connection)
            self._transport.abort()

    def stop_reading(self) -> None:
        """Handles no further frame."""
        self._reading = False

    async def go_away(self, seconds: float) -> None:
        """Closes the connection because the proxy is about to stop.

        Args:
            seconds: how long the client may take to read and answer that.
        """
        if self.story.code is None:
            self.story.code = CloseCode.GOING_AWAY
        self.write(frames.close_frame(CloseCode.GOING_AWAY, "going away"))
        if not (self._cut_off or self._transport.is_closing()):
            # Not the end of the socket: while the client still sends, that would be a
            # reset, by which it loses what it has not read yet.
            self._transport.write_eof()
        self._cut_off = self._leaving = True
        if self._busy and self._task is not None:
            # It may wait for the server, longer than a stop may take.
            self._task.cancel()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            self._transport.abort()

    def end(self) -> None:
        """Gives up what a client does not read; it would wait for ever to be flushed."""
        if self._end_of_token is not None:
            self._end_of_token.cancel()
        if self._cut_off:
            # It was told why. aiohttp would say goodbye once more, which browsers take for
            # a lost connection, without a code.
            self._transport.close()
        if self._transport.get_write_buffer_size():
            self._abort_later()

    def _may_send_at_once(self, action: Send) -> bool:
        if self.caller is not None:
            fields = codec.fields_of(action.message)
            # Known by this name to the server, so that the answer is recognised.
            fields["sender_id"] = fields["sender_id"] or self.caller.user_id
            if fields["room_id"] not in self.rooms:
                return False
        return self._switchboard.sends.is_calm

    def _send(self, action: Send, *, enter: bool = True) -> None:
        try:
            self._switchboard.send(self, action.message, action.request_id, enter=enter)
        except Refused as refused:
            self._refuse(refused.error, action.request_id)
        except Exception:
            log.exception("frame failed", action="Send", **_named(action))
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
        except Exception:
            log.exception("frame failed", action=type(action).__name__)
            self._fail(action)
        finally:
            self._busy = False

    def _fail(self, action: Action) -> None:
        """Answers with a fixed text, whatever went wrong; the connection goes on."""
        self._refuse(errors.internal(), action.request_id)

    def _refuse(self, error: Error, request_id: str | None) -> None:
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
                with tracing.span("join"):
                    await self._enter(join, request_id)
            case Renew(token, request_id):
                await self._renew(token, request_id)
            case LeaveRoom(room_id, request_id):
                self._switchboard.leave(self, room_id)
                self._answer(ServerFrame(left=Left(room_id), request_id=request_id))
            case Ask(field, request, request_id):
                call = self._owner.calls[field]
                response = await self._owner.upstream.call(call, request, self.caller)
                frame = ServerFrame(request_id=request_id)
                setattr(frame, call.answer, response)
                await self._write_out(frame)
            case Refuse(error, request_id):
                self._refuse(error, request_id)
            case Expel(error, request_id):
                self._refuse(error, request_id)
                self._expel()

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
                if await self._admitted(room_id, "room_id"):
                    unsure.discard(room_id)
        finally:
            for room_id in unsure & self.rooms:
                self._switchboard.leave(self, room_id)
                self._answer(ServerFrame(left=Left(room_id)))

    def _expire_at(self, end: datetime) -> None:
        if self._end_of_token is not None:
            self._end_of_token.cancel()
        loop = asyncio.get_running_loop()
        rest = min((end - datetime.now(UTC)).total_seconds(), _LONGEST_TIMER_SECONDS)
        self._end_of_token = loop.call_later(max(rest, 0), self._expire, end)

    def _expire(self, end: datetime) -> None:
        if datetime.now(UTC) < end:
            self._expire_at(end)
        else:
            self._cut(CloseCode.TOKEN_EXPIRED, "the token has expired")

    async def _calm(self) -> None:
        """Waits while the server is slow to confirm, as long as the client is there.

        Raises:
            ClientConnectionResetError: the client is gone.
        """
        sends = self._switchboard.sends
        while not sends.is_calm:
            # aiohttp tells nobody who waits for something else that a client is gone.
            if self._gone():
                raise ClientConnectionResetError("the client is gone")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.heartbeat_seconds):
                    await sends.calm()

    async def _enter(self, join: Join, request_id: str | None) -> None:
        # Joining again starts over.
        self._switchboard.leave(self, join.room_id)
        with self._switchboard.entering(join.room_id) as room:
            await self._switchboard.live_room(room)
            if self._switchboard.tokens_required and self.caller is None:
                # It came before it was known that the server asks for tokens.
                self.dismiss(errors.unauthenticated())
                return
            replay = room.can_replay(join, self._config.replay_messages)
            joined = Joined(room.room_id, room.epoch, room.last_seq, replay)
            self._answer(ServerFrame(joined=joined, request_id=request_id))
            whole = replay and await self._replay(room, join)
            self._metrics.joined(asked=join.after_seq is not None, recovered=whole)
            if replay and not whole:
                joined = Joined(room.room_id, room.epoch, room.last_seq, recovered=False)
                self._answer(ServerFrame(joined=joined))
            if not self._gone():
                self._switchboard.admit(self, room)

    async def _replay(self, room: Room[Client], join: Join) -> bool:
        """Writes what the client missed.

        It ends in the turn of the event loop in which nothing is missing, and the
        caller enters the room in that same turn: no gap, no duplicate.

        Returns:
            Whether all of it was there and could be read.
        """
        own = room.replaying[self] = {}
        try:
            whole = await self._replay_pages(room, join.after_seq or 0, own)
        finally:
            del room.replaying[self]
        # What it sent meanwhile and the replay did not come to is answered all the same.
        for message, request_id in own.values():
            self.write(frames.message(message, request_id))
        return whole

    async def _replay_pages(
        self, room: Room[Client], cursor: int, own: dict[int, tuple[ChatMessage, str | None]]
    ) -> bool:
        epoch = room.epoch
        while cursor < room.last_seq and not self._gone():
            page = await self._page(room, cursor)
            if room.epoch != epoch or not page:
                return False
            for message in page:
                sent, request_id = own.get(message.seq, (None, None))
                # In another epoch, another message has this place.
                if sent is not None and sent.id == message.id:
                    del own[message.seq]
                else:
                    request_id = None
                await self._write_out(
                    make_server_frame(chat_message=message, request_id=request_id)
                )
            cursor = page[-1].seq
        return room.epoch == epoch

    async def _page(self, room: Room[Client], cursor: int) -> list[ChatMessage]:
        request = GetChatHistoryRequest(
            room.room_id, _REPLAY_PAGE, before_seq=room.last_seq + 1, after_seq=cursor
        )
        call = self._owner.calls["get_chat_history"]
        try:
            response = await self._owner.upstream.call(call, request, self.caller)
        except Refused as refused:
            # The client was told that it is in the room, so it will be; what it
            # misses, it can page through later.
            log.warning("replay given up", room_id=room.room_id, reason=str(refused))
            return []
        messages: list[ChatMessage] = response.messages
        self._metrics.replayed += len(messages)
        return messages

    async def _write_out(self, frame: ServerFrame) -> None:
        """Writes what a client asked for, and waits while the socket is full.

        Raises:
            ClientConnectionResetError: the client is gone, or does not read.
        """
        try:
            async with asyncio.timeout(self._config.heartbeat_seconds):
                await self._socket.send_frame(codec.to_json(frame), WSMsgType.TEXT)
        except TimeoutError:
            self._overflow()
            raise ClientConnectionResetError("the client does not read") from None

    def _answer(self, frame: ServerFrame) -> None:
        self.write(frames.encode(frame))

    def _gone(self) -> bool:
        return self._cut_off or self._socket.closed or self._transport.is_closing()

    def _expel(self) -> None:
        log.info("client closed that goes on although it was told to wait")
        self._cut(CloseCode.TOO_MANY_REQUESTS, "too many requests")

    def _overflow(self) -> None:
        """Cuts off a client that does not read."""
        self._metrics.slow_consumers += not self._gone()
        waiting = self._transport.get_write_buffer_size()
        log.info("slow consumer closed", connection=self.story.connection, waiting=waiting)
        self._cut(CloseCode.SLOW_CONSUMER, "slow consumer")

    def _cut(self, code: CloseCode, reason: str) -> None:
        """Closes the connection at once, behind what waits for it."""
        if self._gone():
            return
        self._cut_off = True
        self.story.code = code
        self.stop_reading()
        self._transport.write(frames.close_frame(code, reason))
        self._abort_later()
        # Later, because whoever writes may be going through the rooms.
        asyncio.get_running_loop().call_soon(self._switchboard.close, self)

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)


def _named(action: Send) -> dict[str, str]:
    """The request id of a send as it is logged, if it has one."""
    return {} if action.request_id is None else {"request_id": shortened(action.request_id)}
