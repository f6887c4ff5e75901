"""One call, from its headers to its status.

`CallHandler` begins calls: it refuses those whose headers are malformed, that an address or
a connection makes too often, or whose time is up, before any handler of the application runs.
`CallGuard` stands around the application's handler.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from grpclib import GRPCError, Status
from grpclib.events import RecvRequest, SendTrailingMetadata
from grpclib.exceptions import StreamTerminatedError
from grpclib.metadata import encode_grpc_message
from grpclib.server import Handler, Stream
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from hosting.faults import INTERNAL_TEXT
from hosting.grpc.call_log import Ending, observed
from hosting.grpc.connections import ServerConnection
from hosting.grpc.errors import (
    StatusOf,
    deadline_exceeded,
    retry_later,
)
from hosting.grpc.headers import checked_timeout, is_malformed
from hosting.grpc.messages import MessageBuffer
from hosting.logs import get_logger
from hosting.rate_limits import CALLS

if TYPE_CHECKING:
    from grpclib.protocol import Stream as ProtocolStream

log = get_logger(__name__)

# Health and reflection: a client may watch them for as long as it likes.
_ENDLESS: Final = "/grpc."

MessageLimit = Callable[[str], int]
Tasks = WeakSet[asyncio.Task[Any]]
_Method = Callable[[Stream[Any, Any]], Any]


class CallHandler(Handler):
    """Begins and cancels the calls of a connection.

    Args:
        args: see grpclib.
        message_limit: see `GrpcServer`.
        busy: where it is listed while it has calls. grpclib lists each from before its
            connection is made, which a TLS handshake may never let come to pass, until
            some connections after its end.
        late: where a call is put whose deadline has passed.
    """

    def __init__(
        self, *args: Any, message_limit: MessageLimit, busy: set[CallHandler], late: Tasks
    ) -> None:
        super().__init__(*args)
        self._late = late
        self._message_limit = message_limit
        self._busy = busy
        self._endless: set[asyncio.Task[None]] = set()

    def accept(
        self,
        stream: ProtocolStream,
        headers: list[tuple[str, str]],
        release_stream: Callable[[], Any],
    ) -> None:
        """See grpclib; refuses what need not reach a handler."""
        release = _Once(release_stream)
        # Before anything else is done: the caller is not authenticated yet.
        wait = _take_call(stream)
        if is_malformed(headers):
            _reset(stream, ErrorCodes.PROTOCOL_ERROR)
            release()
            return
        if wait:
            # A call that is still being sent is not reset: then some clients do not see
            # when to come back.
            _answer(stream, retry_later(CALLS, wait))
            release()
            return
        try:
            seconds = checked_timeout(headers)
            if seconds == 0:
                raise deadline_exceeded()
        except GRPCError as error:
            _refuse(stream, error)
            release()
            return
        self._begin(stream, headers, release, seconds)

    def _begin(
        self,
        stream: ProtocolStream,
        headers: list[tuple[str, str]],
        release: _Once,
        seconds: float | None,
    ) -> None:
        said = dict(headers)
        path = said[":path"]
        method = self.mapping.get(path)
        if method is None and _is_grpc(said):
            # As grpclib does, but with a type, without which its clients take it for UNKNOWN.
            _refuse(stream, GRPCError(Status.UNIMPLEMENTED, "Method not found"))
            release()
            return
        stream.buffer = MessageBuffer(
            partial(stream.connection.ack, stream.id),  # type: ignore[arg-type]  # an accepted stream has an id
            self._message_limit(path),
            may_be_empty=method is None or method.cardinality.client_streaming,
        )
        # A deadline that passes before grpclib has begun to watch it, it takes for a defect.
        rest = [header for header in headers if header[0] != "grpc-timeout"]
        super().accept(stream, rest, release)
        self._busy.add(self)
        # A task that is cancelled before its first step never runs its `finally`.
        task = self._tasks[stream]
        task.add_done_callback(lambda _: release())
        task.add_done_callback(partial(self._forget, stream))
        if path.startswith(_ENDLESS):
            self._endless.add(task)
            task.add_done_callback(self._endless.discard)
        if seconds is not None:
            timer = self.loop.call_later(seconds, self._expire, stream, task)
            task.add_done_callback(lambda _: timer.cancel())

    def _forget(self, stream: ProtocolStream, task: asyncio.Task[None]) -> None:
        """Lets a call go at its end, which grpclib does some calls later.

        With a failed call go the frames of its traceback, and the objects in them.
        """
        self._tasks.pop(stream, None)
        self._cancelled.discard(task)
        if not self._tasks and not self._cancelled:
            self._busy.discard(self)

    def _expire(self, stream: ProtocolStream, task: asyncio.Task[None]) -> None:
        self._late.add(task)
        if stream.wrapper is not None:
            stream.wrapper.cancel(TimeoutError("the deadline has passed"))
        else:  # it has not begun
            task.cancel()
            _reset(stream, ErrorCodes.CANCEL)

    def calls(self) -> set[asyncio.Task[None]]:
        """The calls of this connection that have not ended."""
        return {task for task in (*self._tasks.values(), *self._cancelled) if not task.done()}

    def ending_calls(self) -> set[asyncio.Task[None]]:
        """The calls that have not ended and will, when the server drains."""
        return self.calls() - self._endless

    def cancel(self, stream: ProtocolStream) -> None:
        """See grpclib."""
        # A task that ended by itself may have been collected already.
        if stream in self._tasks:
            super().cancel(stream)


class _Once:
    """Calls a function the first time only."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function: Callable[[], Any] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


def _is_grpc(headers: dict[str, str]) -> bool:
    is_post = headers[":method"] == "POST"
    return is_post and headers.get("content-type", "").startswith("application/grpc")


def _take_call(stream: ProtocolStream) -> float:
    connection = stream.connection
    return connection.take_call() if isinstance(connection, ServerConnection) else 0.0


def _refuse(stream: ProtocolStream, error: GRPCError) -> None:
    """Answers a call for which no handler is begun, and takes nothing more of it."""
    _answer(stream, error)
    # The client may have reset the stream in the same breath.
    with suppress(ProtocolError):
        if stream.closable:
            stream.reset_nowait()


def _answer(stream: ProtocolStream, error: GRPCError) -> None:
    """Answers a call for which no handler is begun."""
    h2 = stream.connection._connection  # noqa: SLF001 - grpclib offers no other way
    headers = [(":status", "200"), ("content-type", "application/grpc")]
    headers.append(("grpc-status", str(error.status.value)))
    headers.append(("grpc-message", encode_grpc_message(error.message or "")))
    if isinstance(error.details, dict):
        headers += error.details.items()
    with suppress(ProtocolError):  # as above
        h2.send_headers(stream.id or 0, headers, end_stream=True)


def _reset(stream: ProtocolStream, code: ErrorCodes) -> None:
    with suppress(ProtocolError):
        stream.reset_nowait(code)


class CallGuard:
    """Stands around each handler: counts and logs its call, and maps its exceptions.

    Args:
        status_of: maps exceptions to errors.
        calls: counts the calls that have ended, by method and status.
        traced: the prefixes of the paths of methods whose calls are traced.
        late: the calls whose deadline has passed.
    """

    def __init__(
        self,
        status_of: StatusOf,
        calls: Counter[tuple[str, str]],
        traced: tuple[str, ...],
        late: Tasks,
    ) -> None:
        self._late = late
        self._status_of = status_of
        self._calls = calls
        self._traced = traced

    async def on_request(self, event: RecvRequest) -> None:
        """Grpclib's listener: puts this guard around the handler of a call."""
        event.method_func = partial(self._count, event.method_func, event.method_name)

    async def _count(self, method: _Method, name: str, stream: Stream[Any, Any]) -> None:
        ending = Ending()
        try:
            with observed(name, stream, ending, is_traced=name.startswith(self._traced)):
                await self._call(method, name, stream, ending)
        finally:
            self._calls[name, ending.status] += 1

    async def _call(
        self, method: _Method, name: str, stream: Stream[Any, Any], ending: Ending
    ) -> None:
        try:
            await method(stream)
        except asyncio.CancelledError:
            # If not, it is by the client, or because that is gone.
            ending.is_late = asyncio.current_task() in self._late
            raise
        except (GRPCError, StreamTerminatedError):
            raise
        except ProtocolError as error:
            # h2's, when something is sent on a stream that is closed.
            raise StreamTerminatedError(str(error)) from error
        except Exception as error:
            answer = self._status_of(error)
            if answer is None:
                # The client gets a fixed text.
                log.exception("call failed", method=name)
                answer = GRPCError(Status.INTERNAL, INTERNAL_TEXT)
            raise answer from error


async def add_details(event: SendTrailingMetadata) -> None:
    """Grpclib's listener: sends an error's details beside its text, see `retry_later`."""
    if isinstance(event.status_details, dict):
        event.metadata.update(event.status_details)
