"""HTTP/2 as bytes, and two clients: one without rules, one beyond the use of gRPC."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes
from hpack import Encoder

from tests.kit import PATIENCE_SECONDS

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION, ALTSVC = 8, 9, 10
ACK = END_STREAM = 1
END_HEADERS = 4
PADDED = 8

MAGIC: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Headers = list[tuple[str, str | bytes]]

# Of `tests.hosting.grpc.probe`.
_ECHO: Final = "/probe.Probe/Echo"
_LARGEST_WINDOW: Final = 2**31 - 1


class Received(NamedTuple):
    """A received frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(
    kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0, size: int | None = None
) -> bytes:
    """Encodes a frame (RFC 9113, section 4.1); `size` may lie."""
    length = len(payload) if size is None else size
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


PREFACE: Final = MAGIC + frame(SETTINGS)


def headers(path: str = _ECHO, *more: tuple[str, str | bytes], without: str = "") -> Headers:
    """Headers of a gRPC request."""
    usual: Headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    return [(name, value) for name, value in usual if name != without] + list(more)


def block(fields: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Encodes a header block that depends on no other."""
    return _encoded(tuple(fields))


@lru_cache
def _encoded(fields: tuple[tuple[str, str | bytes], ...]) -> bytes:
    """Remembers the last ones: attacks repeat the same block thousands of times."""
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.table_size_changes.clear()
    return encoder.encode(fields)


def opening(stream: int, fields: Headers | None = None, *, flags: int = END_HEADERS) -> bytes:
    """The frame that opens a call."""
    return frame(HEADERS, block(fields or headers()), flags=flags, stream=stream)


def reset(stream: int) -> bytes:
    """The frame that cancels a call."""
    return frame(RST_STREAM, struct.pack(">I", ErrorCodes.CANCEL), stream=stream)


class RawClient:
    """One connection that reads only what is asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, port: int, *, receive_bytes: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[RawClient]:
        """Opens a connection that is aborted with the context; its buffer may be small."""
        with socket.socket() as sock:
            sock.setblocking(False)
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            name = "127.0.0.1" if tls else None
            reader, writer = await asyncio.open_connection(
                sock=sock.dup(), ssl=tls, server_hostname=name
            )
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        """Queues bytes without waiting."""
        self._writer.write(data)

    def send_end(self) -> None:
        """Half-closes the connection."""
        self._writer.write_eof()

    async def next(self) -> Received | None:
        """Returns the next frame, or `None` once the server has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                head = await self._reader.readexactly(9)
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
        return Received(kind, flags, stream, payload)

    async def until(self, kind: int, *, flags: int = 0) -> Received:
        """Reads up to a frame of a kind with these flags."""
        while (received := await self.next()) is not None:
            if received.kind == kind and received.flags & flags == flags:
                return received
        raise AssertionError("the connection was closed")

    async def end(self) -> ErrorCodes | None:
        """Reads until the server has closed; returns the content of its GOAWAY."""
        reason = None
        while (received := await self.next()) is not None:
            if received.kind == GOAWAY:
                reason = ErrorCodes(struct.unpack(">I", received.payload[4:8])[0])
        return reason


def prefixed(payload: bytes, *, size: int | None = None, compressed: bool = False) -> bytes:
    """A message as framed in a gRPC stream; `size` may lie."""
    length = len(payload) if size is None else size
    return struct.pack(">?I", compressed, length) + payload


def payloads(data: bytes) -> list[bytes]:
    """Messages in the data of a gRPC stream."""
    found = []
    while data:
        (size,) = struct.unpack(">xI", data[:5])
        found.append(data[5 : 5 + size])
        data = data[5 + size :]
    return found


class Http2Client:
    """One connection. Reading does not reopen the flow-control windows."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._events: deque[Event] = deque()
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, host: str, port: int, local: str | None = None
    ) -> AsyncIterator[Http2Client]:
        """Opens a connection that is closed with the context, from another address if given."""
        here = None if local is None else (local, 0)
        reader, writer = await asyncio.open_connection(host, port, local_addr=here)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def accept_everything(self) -> None:
        """Opens the flow-control windows to their limit."""
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: _LARGEST_WINDOW})
        self.h2.increment_flow_control_window(_LARGEST_WINDOW - 65535)
        self.flush()

    def request(
        self,
        path: str,
        data: bytes = b"",
        *,
        end: bool = False,
        more: Iterable[tuple[str, str]] = (),
    ) -> int:
        """Opens a gRPC call; returns its stream id."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers(path, *more))
        self.send(stream, data, end=end)
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Queues data; `flush` writes it."""
        while len(data) > self.h2.max_outbound_frame_size:
            self.h2.send_data(stream, data[: self.h2.max_outbound_frame_size])
            data = data[self.h2.max_outbound_frame_size :]
        if data or end:
            self.h2.send_data(stream, data, end_stream=end)

    def flush(self) -> None:
        """Writes all queued data in one piece."""
        self._writer.write(self.h2.data_to_send())

    async def event(self) -> Event | None:
        """Returns the next event, or `None` once the server has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._events:
                data = await self._reader.read(65536)
                if not data:
                    return None
                self._events.extend(self.h2.receive_data(data))
                self.flush()
        return self._events.popleft()

    async def data(self, stream: int) -> bytes:
        """Reads until a stream brings data; returns the data of one frame."""
        self.flush()
        while not (isinstance(event := await self.event(), DataReceived)):
            assert event is not None, "the connection was closed"
        assert event.stream_id == stream
        return event.data or b""

    async def answer(self, stream: int) -> tuple[bytes, dict[str, str]]:
        """Reads until a stream has ended; returns its data and all its headers."""
        self.flush()
        data, found = b"", dict[str, str]()
        while not isinstance(event := await self.event(), StreamEnded):
            assert event is not None, "the connection was closed"
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, DataReceived):
                data += event.data or b""
            elif isinstance(event, ResponseReceived | TrailersReceived):
                found.update((str(k), str(v)) for k, v in event.headers or ())
        return data, found

    async def status(self, stream: int) -> tuple[int, str]:
        """Reads until a call has ended; returns its gRPC status and message."""
        _, found = await self.answer(stream)
        return int(found["grpc-status"]), found.get("grpc-message", "")
