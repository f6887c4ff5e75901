"""A WebSocket client on a plain socket (RFC 6455), to do what clients should not do."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, NamedTuple, Self

from aiohttp import WSMsgType

from tests.proxy.web_client import Frame, Http
from tests.support import PATIENCE_SECONDS

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


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


class RawClient:
    """Reads only when it is told to, answers no ping and no close, and sends any bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = b""

    @classmethod
    async def connect(cls, http: Http) -> Self:
        """Opens a WebSocket to the proxy of a test client."""
        return await cls.open("127.0.0.1", int(http.port or 0))

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Opens a WebSocket. Little fits into its buffers while it does not read."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        client = cls(sock)
        await client.send_bytes(
            f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in client._received:
            assert await client._receive_more(), "no handshake"
        head, _, client._received = client._received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return client

    async def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

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
        """Reads up to a close frame, included."""
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
        """Closes the socket."""
        self._sock.close()

    async def _receive_more(self) -> bool:
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                data = await asyncio.get_running_loop().sock_recv(self._sock, 1 << 20)
            except ConnectionResetError:
                return False
        self._received += data
        return bool(data)


def split_frame(data: bytes) -> tuple[RawFrame, bytes] | None:
    """Splits the first frame of a server off; returns `None` if it is not all there."""
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


def masked(opcode: int, payload: bytes, *, first_bits: int = 0x80) -> bytes:
    """A frame of a client (RFC 6455, section 5.2).

    Args:
        opcode: what it is.
        payload: what it carries.
        first_bits: FIN and the reserved bits.
    """
    if len(payload) < 126:
        head = struct.pack("!BB", first_bits | opcode, 0x80 | len(payload))
    elif len(payload) < 1 << 16:
        head = struct.pack("!BBH", first_bits | opcode, 0x80 | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first_bits | opcode, 0x80 | 127, len(payload))
    mask = b"\x1f\xa3\x00\x5c"
    repeated = mask * (len(payload) // 4 + 1)
    return head + mask + bytes(a ^ b for a, b in zip(payload, repeated, strict=False))
