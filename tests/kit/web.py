"""HTTP and WebSocket (RFC 6455) as bytes, and clients that break their rules."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol, Self

from aiohttp import WSMsgType

from tests.kit import PATIENCE_SECONDS

Frame = dict[str, Any]

HANDSHAKE: Final = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class _Http(Protocol):
    """aiohttp's test client."""

    @property
    def port(self) -> int | None: ...


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request; each character is one byte."""
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body


def get(path: str, *headers: str) -> bytes:
    """A request for a path with ``Connection: close``."""
    return request(f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers)


def post(*headers: str, body: bytes = b"") -> bytes:
    """A request with a body and ``Connection: close``."""
    first = "Host: localhost", "Connection: close"
    return request("POST / HTTP/1.1", *first, *headers, body=body)


def handshake(**changes: str | None) -> bytes:
    """The WebSocket handshake (RFC 6455, section 4.1); underscores stand for dashes."""
    fields = HANDSHAKE | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return request("GET / HTTP/1.1", *lines)


def split_frame(data: bytes) -> tuple[RawFrame, bytes] | None:
    """Splits off the first frame of a server; returns `None` if it is incomplete."""
    if len(data) < 2:
        return None
    size, start = data[1], 2
    if size == 126 and len(data) >= 4:
        (size,), start = struct.unpack_from("!H", data, 2), 4
    elif size == 127 and len(data) >= 10:
        (size,), start = struct.unpack_from("!Q", data, 2), 10
    elif size > 125:
        return None
    if len(data) < start + size:
        return None
    assert data[0] & 0xF0 == 0x80, "not a whole message without extensions"
    return RawFrame(data[0] & 0x0F, data[start : start + size]), data[start + size :]


def split_frames(data: bytes) -> list[RawFrame]:
    """Splits bytes that hold whole frames of a server."""
    found = []
    while data:
        split = split_frame(data)
        assert split is not None, "half a frame"
        frame, data = split
        found.append(frame)
    return found


def masked(
    opcode: int, payload: bytes, *, first_bits: int = 0x80, mask: bytes = b"\x1f\xa3\x00\x5c"
) -> bytes:
    """Encodes a frame of a client (RFC 6455, section 5.2).

    Args:
        opcode: its type.
        payload: its unmasked content.
        first_bits: FIN and the reserved bits.
        mask: its four bytes.
    """
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first_bits | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first_bits | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first_bits | opcode, 0x80 | 127, size)
    repeated = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size)


class RawFrame(NamedTuple):
    """One frame of the server."""

    opcode: int
    payload: bytes

    def json(self) -> Frame:
        """The object in a text frame."""
        assert self.opcode == WSMsgType.TEXT, self
        frame = json.loads(self.payload)
        assert isinstance(frame, dict)
        return frame

    @property
    def close_code(self) -> int:
        """The code in a close frame."""
        assert self.opcode == WSMsgType.CLOSE, self
        return int(struct.unpack_from("!H", self.payload)[0])


class Wire:
    """One TCP connection that reads only what is asked for."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1", *, receive_bytes: int = 0) -> Self:
        """Connects; its buffer may be small."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return cls(sock)

    @classmethod
    async def websocket(cls, port: int) -> Self:
        """Opens a WebSocket."""
        wire = await cls.open(port)
        await wire.send(handshake())
        assert status(await wire.head()) == 101
        return wire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def reset_when_closed(self) -> None:
        """Makes `close` send a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        self._sock.close()

    async def send(self, data: bytes) -> None:
        """Sends bytes; a lost connection shows at the next read."""
        with suppress(BrokenPipeError, ConnectionResetError):
            await self.send_or_fail(data)

    async def send_or_fail(self, data: bytes) -> None:
        """Sends bytes.

        Raises:
            OSError: the connection was lost.
        """
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self) -> bytes:
        """Returns the next bytes, or none once the server has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await asyncio.get_running_loop().sock_recv(self._sock, 1 << 20)
            except ConnectionResetError:
                return b""

    def received(self) -> bytes:
        """Returns the bytes that are here already."""
        try:
            return self._sock.recv(1 << 20)
        except (BlockingIOError, ConnectionResetError):
            return b""

    @property
    def ended(self) -> bool:
        """Whether the server has closed without further bytes."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    async def rest(self) -> bytes:
        """Returns all bytes until the server has closed."""
        data = b""
        while piece := await self.receive():
            data += piece
        return data

    async def head(self) -> bytes:
        """Reads the head of an answer without a body."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await self.receive()
            assert piece, data
            data += piece
        assert data.endswith(b"\r\n\r\n")
        return data


def status(answer: bytes) -> int:
    """The status of an answer; 0 if there is none."""
    found = re.match(rb"HTTP/\d\.\d (\d{3}) ", answer)
    return int(found[1]) if found else 0


async def answer_to(port: int, data: bytes) -> bytes:
    """Sends bytes over a connection of their own; returns all received until its end."""
    async with await Wire.open(port) as wire:
        await wire.send(data)
        return await wire.rest()


class RawWebSocket:
    """A WebSocket client that reads on demand, answers no ping or close, and sends any bytes."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._received = b""

    @classmethod
    async def open(cls, host: str, port: int, **headers: str) -> Self:
        """Opens a WebSocket with small buffers; for headers, see `handshake`."""
        client = cls(await Wire.open(port, host, receive_bytes=4096))
        await client.send_bytes(handshake(Host=host, **headers))
        while b"\r\n\r\n" not in client._received:
            assert await client._receive_more(), "no handshake"
        head, _, client._received = client._received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return client

    @classmethod
    async def connect(cls, http: _Http) -> Self:
        """Opens a WebSocket to the proxy of a test client."""
        return await cls.open("127.0.0.1", int(http.port or 0))

    async def send_bytes(self, data: bytes) -> None:
        """Sends bytes unchanged; see `Wire.send_or_fail`."""
        await self._wire.send_or_fail(data)

    async def send(self, **frame: Any) -> None:
        """Sends a JSON object."""
        await self.send_bytes(masked(WSMsgType.TEXT, json.dumps(frame).encode()))

    async def read_frame(self) -> RawFrame | None:
        """Reads a frame; returns `None` at the end of the connection."""
        while (split := split_frame(self._received)) is None:
            if not await self._receive_more():
                return None
        frame, self._received = split
        return frame

    async def read_json(self) -> Frame:
        """Reads the object in the next frame."""
        frame = await self.read_frame()
        assert frame is not None, "cut off"
        return frame.json()

    async def read_to_close(self) -> list[RawFrame]:
        """Reads up to and including a close frame."""
        frames = []
        while (frame := await self.read_frame()) is not None:
            frames.append(frame)
            if frame.opcode == WSMsgType.CLOSE:
                return frames
        raise AssertionError("cut off without a close frame")

    async def read_to_end(self) -> None:
        """Reads until the server has closed the connection."""
        while await self._receive_more():
            pass

    def close(self) -> None:
        self._wire.close()

    async def _receive_more(self) -> bool:
        data = await self._wire.receive()
        self._received += data
        return bool(data)
