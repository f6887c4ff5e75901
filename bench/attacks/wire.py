"""Encodes HTTP/2 and WebSocket frames for attackers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Final

import hpack

DATA: Final = 0x0
HEADERS: Final = 0x1
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PING: Final = 0x6
WINDOW_UPDATE: Final = 0x8
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8

TEXT: Final = 0x1
PONG: Final = 0xA

_CONTINUATION: Final = 0x0
_FIN: Final = 0x80
_MASKED: Final = 0x80


def http2(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Returns a frame (RFC 9113, section 4.1)."""
    return (
        struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
    )


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2(SETTINGS, 0, 0)


def request(path: str, more: Iterable[tuple[str, str]] = ()) -> bytes:
    """Returns the header block of a gRPC request, independent of earlier ones."""
    fields = [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
        ("content-type", "application/grpc"), ("te", "trailers"), *more,
    ]  # fmt: skip
    encoded: bytes = hpack.Encoder().encode(fields)
    return encoded


def websocket(payload: bytes, opcode: int = TEXT, *, last: bool = True) -> bytes:
    """Returns a client frame (RFC 6455, section 5.2), masked with zeros."""
    size = len(payload)
    first = bytes([(_FIN if last else 0) | opcode])
    if size < 126:
        length = bytes([_MASKED | size])
    elif size < 1 << 16:
        length = bytes([_MASKED | 126]) + struct.pack(">H", size)
    else:
        length = bytes([_MASKED | 127]) + struct.pack(">Q", size)
    return first + length + bytes(4) + payload


def fragments(payload: bytes) -> bytes:
    """Returns a text message in frames of one byte."""
    frames = [websocket(payload[:1], TEXT, last=False)]
    frames += [
        websocket(payload[at : at + 1], _CONTINUATION, last=False)
        for at in range(1, len(payload) - 1)
    ]
    return b"".join(frames) + websocket(payload[-1:], _CONTINUATION)


def text(frame: object) -> bytes:
    """Returns a text frame with JSON."""
    return websocket(json.dumps(frame).encode())
