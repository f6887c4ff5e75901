"""The client's side: grpclib's channel, over connections that can be given up.

And `StreamWriter`, which writes to an open stream at once.
"""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast
from weakref import WeakSet

from grpclib import Status, client
from grpclib.client import Handler
from grpclib.protocol import Connection, EventsProcessor, H2Protocol, Stream
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, ResponseReceived
from h2.exceptions import ProtocolError

from hosting.grpc.http2 import DataConnection
from hosting.grpc.streams import DataStream, DataStreams

_CANCEL_AGAIN_SECONDS: Final = 0.1
# Length-Prefixed-Message in gRPC's description of its protocol.
_PREFIX: Final = struct.Struct(">?I")
_STATUSES: Final = frozenset(str(status.value) for status in Status)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task that calls, and waits until it has ended.

    grpclib may raise the server's error in the place of a cancellation: one more call
    has failed then, and the next cancellation ends the task.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)
    if not task.cancelled():
        task.exception()  # retrieved, for nobody else may ask for it


def status_of(stream: client.Stream[Any, Any]) -> Status | None:
    """The status with which the server ended a call; `None` if it has not said so."""
    # grpclib tells it only of calls whose other side has been ended, too.
    trailers = stream._stream.trailers  # noqa: SLF001
    code = dict(trailers or ()).get("grpc-status", "")
    return Status(int(code)) if code in _STATUSES else None


class _Calls(EventsProcessor):
    """The calls of a connection.

    A server's GOAWAY ends those that it does not know, and no other (RFC 9113, section
    6.8): the connection takes no more of them, and is closed after the last.

    Attributes:
        goodbye: is set when the server has said that it goes.
        in_order: whether it said so without an error.
    """

    def __init__(self, handler: Handler, connection: Connection) -> None:
        super().__init__(handler, connection)
        self.goodbye = asyncio.Event()
        self.in_order = False

    def register(self, stream: Stream) -> Callable[[], None]:
        """See grpclib."""
        release = super().register(stream)

        def release_stream() -> None:
            release()
            self._end_if_over()

        return release_stream

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        """See grpclib, which ends all calls."""
        cast(Handler, self.handler).connection_lost = True  # for grpclib's channel
        self.in_order = event.error_code == ErrorCodes.NO_ERROR
        self.goodbye.set()
        for stream_id, stream in tuple(self.streams.items()):
            if stream_id > (event.last_stream_id or 0):
                stream.__terminated__("the server goes, and has not begun the call")
        self._end_if_over()

    def process_response_received(self, event: ResponseReceived) -> None:
        """See grpclib, whose servers name no type where they have no such method.

        Without one, its clients take the status for unknown.
        """
        headers = dict(event.headers or ())
        if "grpc-status" in headers and "content-type" not in headers:  # type: ignore[comparison-overlap]  # they are decoded
            event.headers = [*(event.headers or ()), ("content-type", "application/grpc")]  # type: ignore[list-item]  # as above
        super().process_response_received(event)

    def retire(self) -> None:
        """Takes no more calls; ends the connection after the last."""
        cast(Handler, self.handler).connection_lost = True  # for grpclib's channel
        self.goodbye.set()
        self._end_if_over()

    def abort(self) -> None:
        """Ends the connection, and all that waits to be written on it.

        A server that is only paused is told with the last bytes: so it does not begin, when it
        goes on, with what nobody waits for, and what may have been asked of another one.
        """
        if not self.connection.is_closing():
            for stream in tuple(self.streams.values()):
                with suppress(ProtocolError):  # it has ended already
                    stream.reset_nowait(ErrorCodes.CANCEL)
            transport = self.connection._transport  # noqa: SLF001 - grpclib offers no other way
            self.close()
            transport.abort()

    def _end_if_over(self) -> None:
        if self.goodbye.is_set() and not (self.streams or self.connection.is_closing()):
            self.close("the server has gone")


class _Protocol(H2Protocol):
    """One connection."""

    processor: _Calls

    @property
    def is_closing(self) -> bool:
        """Whether it is no good any more."""
        return self.processor.connection.is_closing()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or was never made."""
        return not hasattr(self, "processor") or self.is_closing

    def retire(self) -> None:
        """Ends it after its calls, if it was made."""
        if hasattr(self, "processor"):
            self.processor.retire()

    def abort(self) -> None:
        """Ends it at once, if it was made and has not ended."""
        if hasattr(self, "processor"):
            self.processor.abort()

    def end(self) -> None:
        """Ends it, if it was made and has not ended."""
        if hasattr(self, "processor") and not self.is_closing:
            self.processor.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """In place of grpclib's, whose connection is h2's own."""
        h2 = DataConnection(self.h2_config)
        h2.greet(self.config)
        connection = DataStreams(h2, cast(asyncio.Transport, transport), config=self.config)
        connection.flush()
        connection.initialize()
        self.connection = connection
        self.processor = _Calls(cast(Handler, self.handler), connection)


class Watch:
    """The state of a connection.

    Args:
        protocol: the connection, if there was one.
    """

    def __init__(self, protocol: _Protocol | None) -> None:
        self._protocol = protocol

    @property
    def is_gone(self) -> bool:
        """Whether it is no good any more, not even for calls that were under way."""
        return self._protocol is None or self._protocol.is_closing

    @property
    def is_leaving(self) -> bool:
        """Whether it is gone, or the server has said that it goes."""
        return self.is_gone or self._said_goodbye()

    @property
    def left_in_order(self) -> bool:
        """Whether the server has said that it goes, without an error."""
        return self._protocol is not None and self._protocol.processor.in_order

    def _said_goodbye(self) -> bool:
        return self._protocol is not None and self._protocol.processor.goodbye.is_set()


class Channel(client.Channel):
    """A channel that gets rid of connections that are no good.

    Args:
        host: the name of the server, which TLS verifies.
        port: its TCP port.
        address: the address to connect to, if it is not to be looked up.
    """

    _protocol: _Protocol | None

    def __init__(self, host: str, port: int, *, address: str = "", **options: Any) -> None:
        super().__init__(host, port, **options)
        self._address = address or host
        self._retired = False
        # All that are open: one that the server said goodbye on may have calls under way.
        self._protocols: WeakSet[_Protocol] = WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = _Protocol(Handler(), self._config, self._h2_config)
        self._protocols.add(protocol)
        return protocol

    async def _create_connection(self) -> H2Protocol:
        """See grpclib, which looks the name up by itself."""
        name = self._host if self._ssl else None
        _, protocol = await asyncio.get_running_loop().create_connection(
            self._protocol_factory, self._address, self._port, ssl=self._ssl, server_hostname=name
        )
        return protocol

    async def __connect__(self) -> H2Protocol:
        """See grpclib, which takes one for good that was lost as it was made.

        It does if the loss was noticed before the task that waits for the connection has gone
        on; a call on it would end with an AttributeError.
        """
        if not self._takes_calls():
            raise ConnectionResetError("no more calls are made on this channel")
        protocol = cast(_Protocol, await super().__connect__())
        if not self._takes_calls():
            # It was retired meanwhile.
            self.retire()
        if protocol.is_closing or protocol.processor.goodbye.is_set():
            raise ConnectionResetError("the connection was lost as it was made")
        return protocol

    def _takes_calls(self) -> bool:
        return not self._retired

    @property
    def is_over(self) -> bool:
        """Whether it has no connection any more."""
        return all(protocol.is_over for protocol in tuple(self._protocols))

    def watch(self) -> Watch:
        """Returns a watch of the connection that there is now."""
        return Watch(self._protocol)

    async def goodbye(self) -> None:
        """Waits until the server says that it goes, on the connection that there is now.

        Raises:
            ConnectionError: it did.
        """
        if self._protocol is not None:
            await self._protocol.processor.goodbye.wait()
        raise ConnectionError("the server says that it goes")

    def close(self) -> None:
        """See grpclib, which knows of one connection."""
        super().close()
        for protocol in tuple(self._protocols):
            protocol.end()

    def retire(self) -> None:
        """Takes no more calls, and closes the connection after those that are under way."""
        self._retired = True
        self._protocol = None  # which grpclib wants to see closed
        for protocol in tuple(self._protocols):
            protocol.retire()

    def abort(self) -> None:
        """Gives up the connection, and all that waits to be written on it.

        To close it would wait until that is written: on a dead link, for many minutes.
        """
        self._protocol = None
        for protocol in tuple(self._protocols):
            protocol.abort()


class StreamWriter:
    """The outgoing side of an open stream, where grpclib would wait for a turn of the loop.

    uvloop writes to its sockets when it has gone through all that is ready, such as the
    frames of hundreds of clients. A batch need not wait for that: the server begins with it
    while this side goes on.

    Args:
        stream: the stream, of a `Channel`; its request was sent.
    """

    def __init__(self, stream: client.Stream[Any, Any]) -> None:
        # grpclib writes by coroutines alone.
        self._stream = cast(DataStream, stream._stream)  # noqa: SLF001
        transport = self._stream._transport  # noqa: SLF001 - as above
        if transport.get_extra_info("ssl_object") is None:
            # With more than this in its buffer, uvloop tries to write at once.
            transport.set_write_buffer_limits(high=0)

    def write_now(self, message: bytes) -> bool:
        """Writes an encoded message, unless something would have to be waited for.

        Nobody else may be in the middle of writing one.

        Returns:
            False if it has not.
        """
        return self._stream.send_now(_PREFIX.pack(False, len(message)) + message)
