"""The attacks: bytes that a client writes repeatedly to the proxy or to the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Final, Literal

from bench.attacks import wire

ROOM: Final = "filled"
"""A room with many messages, the newest of which are not in their table yet."""
MESSAGES: Final = 30_000

_REPLAYED: Final = 10_000
_NO_MESSAGE: Final = bytes(5)  # the prefix of an empty gRPC message
_CALLS: Final = 90  # fewer than may be open at a time
_FRAMES: Final = 2000
# Larger than a browser would send in one frame, but still read by the proxy.
_OVERSIZED: Final = 200_000

Chunks = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of attack.

    Attributes:
        name: its name in the table.
        door: the process that it attacks.
        chunks: the endless bytes of a connection, given a forged token.
        connections: the number of concurrent connections.
        keyed: whether the server requires tokens.
    """

    name: str
    door: Literal["grpc", "websocket", "none"]
    chunks: Callable[[str], Chunks]
    connections: int = 1
    keyed: bool = False


def _busy(_: str) -> Chunks:
    """Only uses a processor: the control for the cost of any other process."""
    while True:
        sum(range(100_000))
        yield b""


def _again(chunk: bytes) -> Callable[[str], Chunks]:
    def chunks(_: str) -> Chunks:
        while True:
            yield chunk

    return chunks


def _calls(path: str, message: bytes = _NO_MESSAGE) -> Callable[[str], Chunks]:
    def chunks(token: str) -> Chunks:
        headers = wire.request(path, [("authorization", f"Bearer {token}")] if token else [])
        streams = count(1, 2)
        while True:
            yield b"".join(
                wire.http2(wire.HEADERS, wire.END_HEADERS, stream, headers)
                + wire.http2(wire.DATA, wire.END_STREAM, stream, message)
                for stream in islice(streams, _CALLS)
            )

    return chunks


def _resets(_: str) -> Chunks:
    headers = wire.request("/chat.ChatService/GetUser")
    streams = count(1, 2)
    while True:
        yield b"".join(
            wire.http2(wire.HEADERS, wire.END_HEADERS, stream, headers)
            + wire.http2(wire.RST_STREAM, 0, stream, bytes([0, 0, 0, 8]))
            for stream in islice(streams, _CALLS)
        )


def _padded(_: str) -> Chunks:
    yield wire.http2(wire.HEADERS, wire.END_HEADERS, 1, wire.request("/chat.ChatService/Chat"))
    piece = wire.http2(wire.DATA, wire.PADDED, 1, b"\1\0\0\0\xff\xff\0")
    while True:
        yield piece * _FRAMES


def _closed(_: str) -> Chunks:
    flags = wire.END_HEADERS | wire.END_STREAM
    yield wire.http2(wire.HEADERS, flags, 1, wire.request("/chat.Nothing/Nothing"))
    while True:
        yield wire.http2(wire.DATA, 0, 1, b"12345") * _FRAMES


def _replays(_: str) -> Chunks:
    join = {"room_id": ROOM, "after_seq": MESSAGES - _REPLAYED}
    frame = wire.text({"join": join}) + wire.text({"leave": {"room_id": ROOM}})
    while True:
        yield frame


def _pages(_: str) -> Chunks:
    page = wire.text({"get_chat_history": {"room_id": ROOM, "limit": 1, "before_seq": 4 * 10**9}})
    while True:
        yield page


_KEYS: Final = "{" + ",".join(f'"k{number}":0' for number in range(6000)) + "}"

CONTROL: Final = Attack("a busy process beside it", "none", _busy)

ATTACKS: Final = (
    CONTROL,
    Attack("pages out of unfolded messages", "websocket", _pages, connections=20),
    Attack("replays of 10,000 messages", "websocket", _replays),
    Attack("oversized frames", "websocket", _again(wire.websocket(b'{"x":"' + b"a" * _OVERSIZED))),
    Attack("one-byte fragments", "websocket", _again(wire.fragments(b'{"leave":' * 50))),
    Attack("frames of 6,000 keys", "websocket", _again(wire.websocket(_KEYS.encode()))),
    Attack("pongs", "websocket", _again(wire.websocket(b"", wire.PONG) * _FRAMES)),
    Attack("frames that are no JSON", "websocket", _again(wire.websocket(b"{") * _FRAMES)),
    Attack("unknown methods", "grpc", _calls("/chat.Nothing/Nothing")),
    Attack("health checks", "grpc", _calls("/grpc.health.v1.Health/Check")),
    Attack("streams reset at once", "grpc", _resets),
    Attack("padded DATA of 5 bytes", "grpc", _padded),
    Attack("DATA on a closed stream", "grpc", _closed),
    Attack("HTTP/2 pings", "grpc", _again(wire.http2(wire.PING, 0, 0, bytes(8)) * _FRAMES)),
    Attack("forged tokens", "grpc", _calls("/chat.ChatService/GetUser"), keyed=True),
    Attack(
        "forged tokens, 4 connections", "grpc", _calls("/chat.ChatService/GetUser"), 4, keyed=True
    ),
)
