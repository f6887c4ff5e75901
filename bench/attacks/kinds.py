"""The attacks: bytes that a client writes repeatedly to the proxy or to the server."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Final, Literal

from aiohttp import WSMsgType

from tests.kit.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    RST_STREAM,
    block,
    frame,
    headers,
    opening,
)
from tests.kit.web import masked

ROOM: Final = "filled"
"""A room with many messages, the newest of which are not in their table yet."""
MESSAGES: Final = 30_000

_REPLAYED: Final = 10_000
_NO_MESSAGE: Final = bytes(5)  # the prefix of an empty gRPC message
_CALLS: Final = 90  # fewer than may be open at a time
_FRAMES: Final = 2000
# Larger than a browser would send in one frame, but still read by the proxy.
_OVERSIZED: Final = b'{"x":"' + b"a" * 200_000

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
        bearer = [("authorization", f"Bearer {token}")] if token else []
        asked = block(headers(path, *bearer))
        streams = count(1, 2)
        while True:
            yield b"".join(
                frame(HEADERS, asked, flags=END_HEADERS, stream=stream)
                + frame(DATA, message, flags=END_STREAM, stream=stream)
                for stream in islice(streams, _CALLS)
            )

    return chunks


def _resets(_: str) -> Chunks:
    asked = block(headers("/chat.ChatService/GetUser"))
    streams = count(1, 2)
    while True:
        yield b"".join(
            frame(HEADERS, asked, flags=END_HEADERS, stream=stream)
            + frame(RST_STREAM, bytes([0, 0, 0, 8]), stream=stream)
            for stream in islice(streams, _CALLS)
        )


def _padded(_: str) -> Chunks:
    yield opening(1, headers("/chat.ChatService/Chat"))
    piece = frame(DATA, b"\1\0\0\0\xff\xff\0", flags=PADDED, stream=1)
    while True:
        yield piece * _FRAMES


def _closed(_: str) -> Chunks:
    yield opening(1, headers("/chat.Nothing/Nothing"), flags=END_HEADERS | END_STREAM)
    while True:
        yield frame(DATA, b"12345", stream=1) * _FRAMES


def _text(asked: object) -> bytes:
    return masked(WSMsgType.TEXT, json.dumps(asked).encode())


def _fragments(payload: bytes) -> bytes:
    """A text, a byte to a frame."""
    opcodes = [WSMsgType.TEXT, *[WSMsgType.CONTINUATION] * (len(payload) - 1)]
    ends = [0] * (len(payload) - 1) + [0x80]
    return b"".join(
        masked(opcode, bytes([byte]), first_bits=end)
        for opcode, byte, end in zip(opcodes, payload, ends, strict=True)
    )


def _replays(_: str) -> Chunks:
    join = {"room_id": ROOM, "after_seq": MESSAGES - _REPLAYED}
    frames = _text({"join": join}) + _text({"leave": {"room_id": ROOM}})
    while True:
        yield frames


def _pages(_: str) -> Chunks:
    page = _text({"get_chat_history": {"room_id": ROOM, "limit": 1, "before_seq": 4 * 10**9}})
    while True:
        yield page


_KEYS: Final = "{" + ",".join(f'"k{number}":0' for number in range(6000)) + "}"

CONTROL: Final = Attack("a busy process beside it", "none", _busy)

ATTACKS: Final = (
    CONTROL,
    Attack("pages out of unfolded messages", "websocket", _pages, connections=20),
    Attack("replays of 10,000 messages", "websocket", _replays),
    Attack(
        "oversized frames",
        "websocket",
        _again(masked(WSMsgType.TEXT, _OVERSIZED)),
    ),
    Attack("one-byte fragments", "websocket", _again(_fragments(b'{"leave":' * 50))),
    Attack("frames of 6,000 keys", "websocket", _again(masked(WSMsgType.TEXT, _KEYS.encode()))),
    Attack("pongs", "websocket", _again(masked(WSMsgType.PONG, b"") * _FRAMES)),
    Attack("frames that are no JSON", "websocket", _again(masked(WSMsgType.TEXT, b"{") * _FRAMES)),
    Attack("unknown methods", "grpc", _calls("/chat.Nothing/Nothing")),
    Attack("health checks", "grpc", _calls("/grpc.health.v1.Health/Check")),
    Attack("streams reset at once", "grpc", _resets),
    Attack("padded DATA of 5 bytes", "grpc", _padded),
    Attack("DATA on a closed stream", "grpc", _closed),
    Attack("HTTP/2 pings", "grpc", _again(frame(PING, bytes(8)) * _FRAMES)),
    Attack("forged tokens", "grpc", _calls("/chat.ChatService/GetUser"), keyed=True),
    Attack(
        "forged tokens, 4 connections", "grpc", _calls("/chat.ChatService/GetUser"), 4, keyed=True
    ),
)
