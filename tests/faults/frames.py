"""HTTP/2 as bytes: a client that knows no rules."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from h2.errors import ErrorCodes
from hpack import Encoder

from tests.chat.probe import ECHO
from tests.support import PATIENCE_SECONDS

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION, ALTSVC = 8, 9, 10
ACK = END_STREAM = 1
END_HEADERS = 4
PADDED = 8

MAGIC: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

Headers = list[tuple[str, str | bytes]]


class Received(NamedTuple):
    """A frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(
    kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0, size: int | None = None
) -> bytes:
    """A frame (RFC 9113, section 4.1); `size` may lie."""
    length = len(payload) if size is None else size
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


PREFACE: Final = MAGIC + frame(SETTINGS)


def headers(path: str = ECHO, *more: tuple[str, str | bytes], without: str = "") -> Headers:
    """The headers of a gRPC request."""
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
    """A header block that needs no other."""
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.table_size_changes.clear()
    return encoder.encode(list(fields))


def opening(stream: int, fields: Headers | None = None, *, flags: int = END_HEADERS) -> bytes:
    """The frame that opens a call."""
    return frame(HEADERS, block(fields or headers()), flags=flags, stream=stream)


def reset(stream: int) -> bytes:
    """The frame that cancels a call."""
    return frame(RST_STREAM, struct.pack(">I", ErrorCodes.CANCEL), stream=stream)


class RawClient:
    """One connection, of which nothing is read that is not asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, port: int, *, receive_bytes: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[RawClient]:
        """A connection that is cut with the context; its buffer may be small."""
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
        """Queues bytes, and waits for nothing."""
        self._writer.write(data)

    def send_end(self) -> None:
        """Says that nothing more will be sent."""
        self._writer.write_eof()

    async def next(self) -> Received | None:
        """Returns the next frame, or nothing once the server has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                head = await self._reader.readexactly(9)
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
        return Received(kind, flags, stream, payload)

    async def until(self, kind: int, *, flags: int = 0) -> Received:
        """Reads on until a frame of a kind comes, with these flags."""
        while (received := await self.next()) is not None:
            if received.kind == kind and received.flags & flags == flags:
                return received
        raise AssertionError("the connection was closed")

    async def end(self) -> ErrorCodes | None:
        """Reads on until the server has closed; returns what its GOAWAY said."""
        reason = None
        while (received := await self.next()) is not None:
            if received.kind == GOAWAY:
                reason = ErrorCodes(struct.unpack(">I", received.payload[4:8])[0])
        return reason
