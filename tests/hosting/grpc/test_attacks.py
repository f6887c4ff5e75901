"""Attacks on the HTTP/2 port: each is stopped, others are served, nothing is left behind."""

import gc
import struct
import sys
import tracemalloc
from array import array
from collections.abc import MutableMapping
from typing import Any

import pytest
from h2.errors import ErrorCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from hosting.grpc.allowances import BURST
from hosting.grpc.hpack_limits import HEADER_BYTES
from tests.clock import Clock, turns
from tests.hosting.grpc.probe import (
    ECHO,
    ECHO_MANY,
    MISS,
    UNREAD,
    ObservedServer,
    check_others_are_served,
    check_served,
)
from tests.kit.http2 import (
    ACK,
    ALTSVC,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAGIC,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Client,
    RawClient,
    block,
    frame,
    headers,
    opening,
    prefixed,
    reset,
)
from tests.support import SHARING, eventually, told

MANY = 2 * BURST
WARM_UP = 3
REPEATED = 5
BEGINNING = 20_000  # bytes of an attack that is repeated
LEAST_KEPT = 100  # bytes: a connection takes more than ten thousand

OPEN = opening(1, headers(UNREAD))
ENDED = opening(1, headers(MISS), flags=END_HEADERS)  # the server ends and resets it
FLOODS = {
    "PING": frame(PING, b"12345678") * MANY,
    "PING that answers nothing": frame(PING, b"12345678", flags=ACK) * MANY,
    "SETTINGS": frame(SETTINGS) * MANY,
    "SETTINGS that are large": frame(SETTINGS, struct.pack(">HI", 4, 65535) * 2000) * 100,
    "SETTINGS that answer nothing": frame(SETTINGS, flags=ACK) * MANY,
    "PRIORITY": frame(PRIORITY, b"\0\0\0\0\1", stream=3) * MANY,
    "WINDOW_UPDATE": frame(WINDOW_UPDATE, b"\0\0\0\1") * MANY,
    "WINDOW_UPDATE of a stream": OPEN + frame(WINDOW_UPDATE, b"\0\0\0\1", stream=1) * MANY,
    "empty DATA": OPEN + frame(DATA, stream=1) * MANY,
    "DATA of a byte": OPEN + frame(DATA, b"\0", stream=1) * MANY,
    "DATA that is padding": OPEN + frame(DATA, b"\3\0\0\0\0", stream=1, flags=PADDED) * MANY,
    "padded DATA": OPEN + frame(DATA, b"\1hello\0", stream=1, flags=PADDED) * MANY,
    "DATA on a closed stream": ENDED + frame(DATA, b"hello", stream=1) * MANY,
    "empty CONTINUATION": b"".join(
        frame(HEADERS, block(headers(UNREAD)), stream=n)
        + frame(CONTINUATION, stream=n) * 60
        + frame(CONTINUATION, stream=n, flags=END_HEADERS)
        for n in range(1, 500, 2)
    ),
    "GOAWAY": OPEN + frame(GOAWAY, bytes(8)) * MANY,
    "streams too many": (b"".join(opening(n, headers(UNREAD)) for n in range(1, BURST, 2))),
    "RST_STREAM": OPEN + reset(1) * MANY,
    "rapid reset": b"".join(opening(n) + reset(n) for n in range(1, MANY, 2)),
    "unknown frames": frame(0x77, b"?") * MANY,
    "ALTSVC": frame(ALTSVC, b"\0\1ab") * MANY,
}


LARGE = block(headers(ECHO, ("x", "a" * HEADER_BYTES)))
BLOCKS = {
    "frames without end": (
        frame(HEADERS, stream=1) + frame(CONTINUATION, stream=1) * MANY,
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "a block without end": (
        frame(HEADERS, b"a" * 16_000, stream=1) + frame(CONTINUATION, b"a" * 1000, stream=1),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "a block that is too large": (
        frame(HEADERS, LARGE, stream=1, flags=END_HEADERS),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "a small block that grows": (
        # One long header into the table, then a thousand references to it.
        frame(
            HEADERS,
            b"\x40\x01x\x7f\x81\x0e" + b"a" * 2000 + b"\xbe" * 1000,
            stream=1,
            flags=END_HEADERS,
        ),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "a block that means nothing": (
        frame(HEADERS, b"\xff" * 20, stream=1, flags=END_HEADERS),
        ErrorCodes.COMPRESSION_ERROR,
    ),
    "a block that refers to nothing": (
        frame(HEADERS, b"\xff\x80\x01", stream=1, flags=END_HEADERS),
        ErrorCodes.COMPRESSION_ERROR,
    ),
    "a table that is larger than may be": (
        frame(HEADERS, b"\x3f\xe1\xff\x03" + block(headers()), stream=1, flags=END_HEADERS),
        ErrorCodes.COMPRESSION_ERROR,
    ),
    "a frame that is too large": (
        frame(DATA, b"a" * 20_000, stream=1, size=2**24 - 1),
        ErrorCodes.FRAME_SIZE_ERROR,
    ),
}


NOT_HTTP2: dict[str, tuple[bytes, ErrorCodes | None]] = {
    "no greeting": (MAGIC + frame(PING, b"12345678"), ErrorCodes.PROTOCOL_ERROR),
    "another protocol": (b"GET / HTTP/1.1\r\n\r\n", None),
    "a block out of turn": (PREFACE + frame(CONTINUATION, stream=1), ErrorCodes.PROTOCOL_ERROR),
    "data for no stream": (PREFACE + frame(DATA, b"a", stream=1), ErrorCodes.PROTOCOL_ERROR),
    "a window that overflows": (
        PREFACE + frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff") * 2,
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "settings that are wrong": (
        PREFACE + frame(SETTINGS, struct.pack(">HI", 4, 2**32 - 1)),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
}


ATTACKS = {
    **{name: (PREFACE + data, ErrorCodes.ENHANCE_YOUR_CALM) for name, data in FLOODS.items()},
    **{name: (PREFACE + data, reason) for name, (data, reason) in BLOCKS.items()},
    **NOT_HTTP2,
}


@pytest.fixture
def clock() -> Clock:
    """It stands still: a slow machine would let an attacker have more, and never end it."""
    return Clock()


@pytest.mark.parametrize(("data", "reason"), ATTACKS.values(), ids=ATTACKS.keys())
async def test_attack_is_ended_with_its_reason(
    port: int, data: bytes, reason: ErrorCodes | None
) -> None:
    async with RawClient.connect(port) as attacker:
        attacker.send(data)
        await check_others_are_served(port)
        assert await attacker.end() == reason
        await check_others_are_served(port)


# Enough to take several times the turns that serving takes.
UNHURRIED = {
    "PING": frame(PING, b"12345678") * 5000,
    "padded DATA": frame(DATA, b"\1hello\0", stream=1, flags=PADDED) * 4000,
    "DATA": frame(DATA, b"hello", stream=1) * 12_000,
}


@pytest.mark.parametrize("received", UNHURRIED.values(), ids=UNHURRIED.keys())
async def test_others_are_served_meanwhile(
    server: ObservedServer, port: int, received: bytes
) -> None:
    """Many calls are served while input from one read is processed."""
    async with RawClient.connect(port) as attacker, Http2Client.connect("127.0.0.1", port) as other:
        await check_served(other)
        attacker.send(PREFACE + OPEN + received)
        await check_served(other)
        assert server.waiting_connections() == 1
        await eventually(lambda: server.waiting_connections() == 0)
        attacker.send(frame(PING, b"the last"))
        while (await attacker.until(PING, flags=ACK)).payload != b"the last":
            pass


async def test_allowance_admits_its_size(port: int) -> None:
    async with RawClient.connect(port) as client:
        pings = BURST - 10
        client.send(PREFACE + frame(PING, b"12345678") * pings)
        for _ in range(pings):
            await client.until(PING, flags=ACK)
        client.send(opening(1) + frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
        await client.until(HEADERS, flags=END_STREAM)


async def test_flood_whose_answers_are_unread_is_stopped(server: ObservedServer, port: int) -> None:
    """The client keeps its side open: the server does not wait for it for ever."""
    async with RawClient.connect(port, receive_bytes=4096) as attacker:
        attacker.send(PREFACE + FLOODS["PING"])
        await check_others_are_served(port)
        await eventually(lambda: server.open_connections() == 0)


async def settled_memory() -> int:
    """The traced memory in bytes, once nothing that has ended is still on its way out."""
    least, now = sys.maxsize, sys.maxsize - 1
    while now < least:
        least = now
        # The last callbacks of both ends of a connection.
        await turns(10)
        gc.collect()
        now, _ = tracemalloc.get_traced_memory()
    return least


@pytest.mark.parametrize("data", [data for data, _ in ATTACKS.values()], ids=ATTACKS.keys())
async def test_repeated_attack_takes_no_memory(
    server: ObservedServer, port: int, logs: list[MutableMapping[str, Any]], data: bytes
) -> None:
    """Measured after each attack: event loop tables may grow a few times, a leak each time."""
    grown = array("q", bytes(8 * REPEATED))  # does not grow itself
    tracemalloc.start()
    try:
        before = await settled_memory()
        for turn in range(WARM_UP + REPEATED):
            async with RawClient.connect(port) as attacker:
                attacker.send(data[:BEGINNING])
                attacker.send_end()
                await attacker.end()
            await eventually(lambda: server.open_connections() == server.open_calls() == 0)
            assert told(logs) == []
            logs.clear()  # the test itself keeps the log lines
            after = await settled_memory()
            grown[max(0, turn - WARM_UP)] = after - before
            before = after
    finally:
        tracemalloc.stop()
    assert sorted(grown)[REPEATED // 4] < LEAST_KEPT


FRAMES = st.builds(
    lambda kind, payload, flags, stream: frame(kind, payload, flags=flags, stream=stream),
    st.integers(0, 11),
    st.binary(max_size=20) | st.sampled_from([block(headers()), block(headers(ECHO_MANY))]),
    st.integers(0, 255) | st.sampled_from([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS]),
    st.integers(0, 6) | st.sampled_from([1, 3]),
)


@settings(SHARING, max_examples=300)
@given(frames=st.lists(FRAMES, max_size=12))
async def test_server_survives_any_frames(port: int, frames: list[bytes]) -> None:
    """A failure shows at the end, when nothing may have been logged."""
    async with RawClient.connect(port) as attacker:
        attacker.send(PREFACE + b"".join(frames))
        attacker.send_end()
        await attacker.end()
