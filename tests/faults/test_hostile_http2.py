"""Clients that attack the port: each is stopped, others are served, nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import struct
import tracemalloc
from array import array
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import pytest
import trustme
from grpclib import Status
from grpclib.client import Channel, UnaryUnaryMethod
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import codec
from chat.allowances import BURST
from chat.config import ConnectionLimits
from chat.http2 import HEADER_BYTES
from gen.chat import ChatMessage
from tests.chat.http2 import Http2Client, prefixed
from tests.chat.probe import ECHO, ECHO_MANY, MISS, UNREAD, ObservedServer
from tests.faults.frames import (
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
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Headers,
    RawClient,
    block,
    frame,
    headers,
    opening,
)
from tests.faults.remains import nothing_stays
from tests.support import SHARING, eventually, message, told

Logs = list[MutableMapping[str, Any]]

REFUSED = struct.pack(">I", ErrorCodes.REFUSED_STREAM)
MALFORMED = struct.pack(">I", ErrorCodes.PROTOCOL_ERROR)
CONNECTIONS = 20
STREAMS = 30
MANY = 2 * BURST
WARM_UP = 3
REPEATED = 9
BEGINNING = 20_000  # bytes of an attack that is repeated
LEAST_KEPT = 100  # bytes: a connection takes more than ten thousand


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(connections=CONNECTIONS, streams_per_connection=STREAMS)


@pytest.fixture
def logs() -> Iterator[Logs]:
    """What the server has logged since the test began."""
    with capture_logs() as found:
        yield found


@pytest.fixture
async def server(
    limits: ConnectionLimits, logs: Logs, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[ObservedServer]:
    """A server that must have had nothing to say at the end."""
    unhandled: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    server = ObservedServer(limits)
    yield server
    server.stop_listening()
    await server.go_away()
    assert unhandled == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert told(logs) == []


@pytest.fixture
async def port(server: ObservedServer) -> AsyncIterator[int]:
    """The port of a server that must hold nothing at the end."""
    port = await server.listen("127.0.0.1", 0)
    # The event loop opens files of its own with its first connection.
    await check_others_are_served(port)
    await eventually(lambda: server.open_connections() == 0)
    async with nothing_stays():
        yield port
        await eventually(lambda: server.open_connections() == 0)
        await eventually(lambda: server.open_streams() == server.open_calls() == 0)


async def check_others_are_served(port: int) -> None:
    async with Http2Client.connect("127.0.0.1", port) as client:
        await check_served(client)


async def check_served(client: Http2Client) -> None:
    whole = prefixed(bytes(message()))
    data, answer = await client.answer(client.request(ECHO, whole, end=True))
    assert (answer["grpc-status"], data) == ("0", whole)


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, b"\0\0\0\x08", stream=stream)


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


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_is_told_to_calm_down(port: int, flood: bytes) -> None:
    async with RawClient.connect(port) as attacker:
        attacker.send(PREFACE + flood)
        await check_others_are_served(port)
        assert await attacker.end() == ErrorCodes.ENHANCE_YOUR_CALM
        await check_others_are_served(port)


# So much of it as takes several times as many turns as to be served.
UNHURRIED = {
    "PING": frame(PING, b"12345678") * 5000,
    "padded DATA": frame(DATA, b"\1hello\0", stream=1, flags=PADDED) * 4000,
    "DATA": frame(DATA, b"hello", stream=1) * 12_000,
}


@pytest.mark.parametrize("received", UNHURRIED.values(), ids=UNHURRIED.keys())
async def test_others_have_their_turn(server: ObservedServer, port: int, received: bytes) -> None:
    """Many are served while what came in one piece is received."""
    async with RawClient.connect(port) as attacker, Http2Client.connect("127.0.0.1", port) as other:
        await check_served(other)
        attacker.send(PREFACE + OPEN + received)
        await check_served(other)
        assert server.waiting_connections() == 1
        await eventually(lambda: server.waiting_connections() == 0)
        attacker.send(frame(PING, b"the last"))
        while (await attacker.until(PING, flags=ACK)).payload != b"the last":
            pass


async def test_who_stays_within_the_allowance_is_served(port: int) -> None:
    async with RawClient.connect(port) as client:
        pings = BURST - 10
        client.send(PREFACE + frame(PING, b"12345678") * pings)
        for _ in range(pings):
            await client.until(PING, flags=ACK)
        client.send(opening(1) + frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
        await client.until(HEADERS, flags=END_STREAM)


async def test_a_flood_of_which_no_answer_is_read_is_stopped_too(
    server: ObservedServer, port: int
) -> None:
    """The client keeps its side open: the server does not wait for it for ever."""
    async with RawClient.connect(port, receive_bytes=4096) as attacker:
        attacker.send(PREFACE + FLOODS["PING"])
        await check_others_are_served(port)
        await eventually(lambda: server.open_connections() == 0)


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


@pytest.mark.parametrize(("data", "reason"), BLOCKS.values(), ids=BLOCKS.keys())
async def test_header_blocks_and_frames_are_bounded(
    port: int, data: bytes, reason: ErrorCodes
) -> None:
    async with RawClient.connect(port) as attacker:
        attacker.send(PREFACE + data)
        await check_others_are_served(port)
        assert await attacker.end() == reason


WITHOUT_SENSE = {
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


@pytest.mark.parametrize(("data", "reason"), WITHOUT_SENSE.values(), ids=WITHOUT_SENSE.keys())
async def test_what_is_no_http2_is_told_so(
    port: int, data: bytes, reason: ErrorCodes | None
) -> None:
    async with RawClient.connect(port) as attacker:
        attacker.send(data)
        assert await attacker.end() == reason
        await check_others_are_served(port)


ATTACKS = {
    **{name: PREFACE + data for name, data in FLOODS.items()},
    **{name: PREFACE + data for name, (data, _) in BLOCKS.items()},
    **{name: data for name, (data, _) in WITHOUT_SENSE.items()},
}


@pytest.mark.parametrize("data", ATTACKS.values(), ids=ATTACKS.keys())
async def test_an_attack_that_is_repeated_takes_no_more_memory(
    server: ObservedServer, port: int, logs: Logs, data: bytes
) -> None:
    """Each time is measured: tables of the event loop may grow a few times, a leak each time."""
    grown = array("q", bytes(8 * REPEATED))  # it does not grow itself
    tracemalloc.start()
    try:
        for turn in range(WARM_UP + REPEATED):
            before, _ = tracemalloc.get_traced_memory()
            async with RawClient.connect(port) as attacker:
                attacker.send(data[:BEGINNING])
                attacker.send_end()
                await attacker.end()
            await eventually(lambda: server.open_connections() == server.open_calls() == 0)
            assert told(logs) == []
            logs.clear()  # it is the test that keeps what was logged
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            grown[max(0, turn - WARM_UP)] = after - before
    finally:
        tracemalloc.stop()
    assert sorted(grown)[REPEATED // 4] < LEAST_KEPT


@pytest.mark.parametrize("kind", [ALTSVC, 0x77, 0xFF])
async def test_frames_of_unknown_types_are_ignored(port: int, kind: int) -> None:
    """RFC 9113, section 5.5: this is how the protocol is extended."""
    async with RawClient.connect(port) as client:
        client.send(PREFACE + frame(kind, b"\0\1ab"))
        client.send(opening(1) + frame(kind, b"\0\0ab", stream=1))
        client.send(frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
        await client.until(DATA)
        await client.until(HEADERS, flags=END_STREAM)


REQUESTS = {
    "no path": headers(without=":path"),
    "two paths": headers(ECHO, (":path", ECHO)),
    "no method": headers(without=":method"),
    "two methods": headers(ECHO, (":method", "POST")),
    "no scheme": headers(without=":scheme"),
    "two schemes": headers(ECHO, (":scheme", "http")),
    "a path that is empty": headers(""),
    "two authorities": headers(ECHO, (":authority", "localhost")),
    "a late pseudo-header": [*headers(without=":scheme"), (":scheme", "http")],
    "an unknown pseudo-header": [(":unknown", "x"), *headers()],
    "a header of answers": [(":status", "100"), *headers()],
    "a header of other requests": [(":protocol", "websocket"), *headers()],
    "a capital": headers(ECHO, ("X-Name", "x")),
    "a name of nothing": headers(ECHO, ("", "x")),
    "a name with a space": headers(ECHO, ("x name", "x")),
    "a name with a colon": headers(ECHO, ("x:name", "x")),
    "a name that is not ASCII": headers(ECHO, ("x\N{DEGREE SIGN}", "x")),
    "a name with a control character": headers(ECHO, ("x\x7f", "x")),
    "a line feed": headers(ECHO, ("x", "a\nb")),
    "a carriage return": headers(ECHO, ("x", "a\rb")),
    "a NUL": headers(ECHO, ("x", "a\0b")),
    "connection": headers(ECHO, ("connection", "keep-alive")),
    "keep-alive": headers(ECHO, ("keep-alive", "5")),
    "proxy-connection": headers(ECHO, ("proxy-connection", "close")),
    "transfer-encoding": headers(ECHO, ("transfer-encoding", "chunked")),
    "upgrade": headers(ECHO, ("upgrade", "h2c")),
    "te": headers(ECHO, ("te", "gzip")),
    "a length that is no number": headers(ECHO, ("content-length", "x")),
    "CONNECT": [(":method", "CONNECT"), (":authority", "localhost")],
}


@pytest.mark.parametrize("fields", REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_malformed_request_is_reset_alone(port: int, fields: Headers) -> None:
    """The connection goes on, with the calls that are open on it."""
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(ECHO_MANY)) + opening(3, fields))
        reset = await client.until(RST_STREAM)
        assert (reset.stream, reset.payload) == (3, MALFORMED)
        client.send(frame(DATA, prefixed(b""), stream=1))
        assert (await client.until(DATA)).stream == 1
        client.send(opening(5) + frame(DATA, prefixed(b""), stream=5, flags=END_STREAM))
        assert (await client.until(HEADERS, flags=END_STREAM)).stream == 5


TRAILERS = {
    "a pseudo-header": [(":path", "/x")],
    "a capital": [("X", "x")],
    "a line feed": [("x", "a\nb")],
}


@pytest.mark.parametrize("fields", TRAILERS.values(), ids=TRAILERS.keys())
async def test_malformed_trailers_reset_their_stream_alone(port: int, fields: Headers) -> None:
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(ECHO_MANY)))
        client.send(opening(1, fields, flags=END_HEADERS | END_STREAM))
        reset = await client.until(RST_STREAM)
        assert (reset.stream, reset.payload) == (1, MALFORMED)
        client.send(opening(3) + frame(DATA, prefixed(b""), stream=3, flags=END_STREAM))
        assert (await client.until(HEADERS, flags=END_STREAM)).stream == 3


@pytest.mark.parametrize(("size", "data"), [("4", prefixed(b"")), ("6", prefixed(b""))])
async def test_data_of_another_length_than_was_said_reset_their_stream_alone(
    port: int, size: str, data: bytes
) -> None:
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(ECHO, ("content-length", size))))
        client.send(frame(DATA, data, stream=1, flags=END_STREAM))
        reset = await client.until(RST_STREAM)
        assert (reset.stream, reset.payload) == (1, MALFORMED)
        client.send(opening(3) + frame(DATA, prefixed(b""), stream=3, flags=END_STREAM))
        assert (await client.until(HEADERS, flags=END_STREAM)).stream == 3


async def test_a_length_that_is_true_and_trailers_that_are_well_formed_are_fine(port: int) -> None:
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(ECHO, ("content-length", "5"))))
        client.send(frame(DATA, prefixed(b""), stream=1))
        client.send(opening(1, [("x", "y")], flags=END_HEADERS | END_STREAM))
        assert (await client.until(DATA)).stream == 1


async def test_who_sends_something_compressed_is_told_what_is_accepted(port: int) -> None:
    async with Http2Client.connect("127.0.0.1", port) as client:
        whole = prefixed(b"anything", compressed=True)
        more = [("grpc-encoding", "gzip")]
        _, answer = await client.answer(client.request(ECHO, whole, end=True, more=more))
        assert answer["grpc-status"] == str(Status.UNIMPLEMENTED.value)
        assert answer["grpc-accept-encoding"] == "identity"


async def test_a_method_that_is_not_there(port: int) -> None:
    """With a type: grpclib's clients take the answer for UNKNOWN without one."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        _, answer = await client.answer(client.request("/probe.Probe/Nothing", end=True))
        assert answer["grpc-status"] == str(Status.UNIMPLEMENTED.value)
        assert answer["content-type"] == "application/grpc"


async def answer_to(port: int, path: str, *more: tuple[str, str]) -> dict[str, str]:
    """The answer to a request with more headers than usual; the connection goes on."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        stream = client.h2.get_next_available_stream_id()
        fields = [(str(name), str(value)) for name, value in headers(path)]
        client.h2.config.validate_outbound_headers = False
        client.h2.send_headers(stream, [*dict([*fields, *more]).items()])
        client.send(stream, prefixed(bytes(message())))
        _, answer = await client.answer(stream)
        await check_served(client)
    return answer


TOO_LONG = "9" * 400 + "S"


@pytest.mark.parametrize("value", ["", "1", "S", "1x", "-1S", "1.5S", "\u0661S", TOO_LONG])
async def test_a_malformed_deadline_is_named(port: int, value: str) -> None:
    answer = await answer_to(port, ECHO, ("grpc-timeout", value))
    assert answer["grpc-status"] == str(Status.INVALID_ARGUMENT.value)
    assert answer["grpc-message"] == "grpc-timeout: is malformed"


@pytest.mark.parametrize("value", ["0S", "0n", "00000000H", "1n", "1u", "20m"])
async def test_a_deadline_that_passes_is_told(port: int, value: str) -> None:
    answer = await answer_to(port, UNREAD, ("grpc-timeout", value))
    assert answer["grpc-status"] == str(Status.DEADLINE_EXCEEDED.value)


@pytest.mark.parametrize("value", ["99999999H", "30S", "60000m"])
async def test_a_deadline_that_does_not_pass_changes_nothing(port: int, value: str) -> None:
    async with Http2Client.connect("127.0.0.1", port) as client:
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, headers(ECHO, ("grpc-timeout", value)))
        client.send(stream, prefixed(b""), end=True)
        assert await client.status(stream) == (Status.OK.value, "")


@pytest.mark.parametrize("value", ["a", "abcde", "\N{SNOWMAN}"])
async def test_a_binary_header_that_is_not_base64_is_named(port: int, value: str) -> None:
    answer = await answer_to(port, ECHO, ("x-bin", value))
    assert answer["grpc-status"] == str(Status.INVALID_ARGUMENT.value)
    assert answer["grpc-message"] == "metadata: a binary value is not base64"


@pytest.mark.parametrize("value", ["", "text/html", "application/grpc+json", "application/grpc;"])
async def test_another_content_type_is_not_supported(port: int, value: str) -> None:
    answer = await answer_to(port, ECHO, ("content-type", value))
    assert answer[":status"] == "415"


async def test_a_header_that_is_not_ascii_is_no_reason_to_hang_up(port: int) -> None:
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(ECHO, ("x", b"\xff\xfe"))))
        client.send(frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
        await client.until(DATA)


async def test_a_message_in_the_smallest_pieces(port: int) -> None:
    """One byte a frame, with more padding than data."""
    whole = prefixed(bytes(message("room", "x" * 500)))
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1))
        for number in whole:
            piece = bytes([3, number, 0, 0, 0])
            client.send(frame(DATA, piece, stream=1, flags=PADDED))
        client.send(frame(DATA, stream=1, flags=END_STREAM))
        assert (await client.until(DATA)).payload == whole


class TestHandshake:
    """A client that does not say in time that it speaks HTTP/2 is dropped."""

    @pytest.fixture
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(handshake_seconds=0.5)

    @pytest.mark.parametrize("said", [b"", MAGIC[:1], MAGIC[:-1], MAGIC, PREFACE[:-1]])
    async def test_half_a_handshake(self, port: int, said: bytes) -> None:
        async with RawClient.connect(port) as client:
            for number in said:
                client.send(bytes([number]))
                await asyncio.sleep(0)
            assert await client.end() is None
            await check_others_are_served(port)

    async def test_who_has_greeted_may_be_silent(self, server: ObservedServer, port: int) -> None:
        async with RawClient.connect(port) as client, RawClient.connect(port) as silent:
            client.send(PREFACE)
            await silent.end()
            assert server.open_connections() == 1
            client.send(frame(PING, b"12345678"))
            await client.until(PING, flags=ACK)


async def test_silent_connections_make_room(server: ObservedServer, port: int) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(RawClient.connect(port)) for _ in range(300)]
        await check_others_are_served(port)
        assert server.open_connections() <= CONNECTIONS
        # The oldest had to go.
        assert await silent[0].end() is None


async def test_connections_are_bounded(server: ObservedServer, port: int) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Http2Client.connect("127.0.0.1", port))
            for _ in range(CONNECTIONS)
        ]
        for client in clients:
            await check_served(client)
        async with RawClient.connect(port) as late:
            assert await late.end() == ErrorCodes.ENHANCE_YOUR_CALM
        assert server.open_connections() == CONNECTIONS
        await check_served(clients[0])
    await eventually(lambda: server.open_connections() == 0)
    await check_others_are_served(port)


async def test_streams_are_bounded(server: ObservedServer, port: int) -> None:
    """Streams on which nothing is ever sent cost no one else a thing."""
    async with RawClient.connect(port) as attacker:
        announced = await attacker.until(SETTINGS)
        pairs = dict(struct.iter_unpack(">HI", announced.payload))
        assert pairs[SettingCodes.MAX_CONCURRENT_STREAMS] == STREAMS
        opened = b"".join(opening(2 * n + 1, headers(ECHO_MANY)) for n in range(STREAMS))
        attacker.send(PREFACE + opened)
        await eventually(lambda: server.open_calls() == STREAMS)
        await check_others_are_served(port)
        # One more is refused alone: the others go on, and one that ends makes room.
        late = 2 * STREAMS + 1
        attacker.send(opening(late, headers(ECHO_MANY)))
        refused = await attacker.until(RST_STREAM)
        assert (refused.stream, refused.payload) == (late, REFUSED)
        attacker.send(frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
        while (await attacker.until(HEADERS, flags=END_STREAM)).stream != 1:
            pass
        attacker.send(opening(late + 2) + frame(DATA, prefixed(b""), stream=late + 2, flags=1))
        while (await attacker.until(HEADERS, flags=END_STREAM)).stream != late + 2:
            pass


async def test_what_still_comes_for_a_refused_stream_harms_no_other(port: int) -> None:
    """The headers that it brought are known from then on; its data is thrown away."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        await check_served(client)  # the server's settings are known
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = STREAMS + 10
        client.h2.remote_settings.acknowledge()
        for _ in range(STREAMS):
            client.request(UNREAD)
        late = client.h2.get_next_available_stream_id()
        client.h2.send_headers(late, headers(ECHO, ("x-of-the-refused", "known by a number")))
        client.send(late, prefixed(bytes(message())), end=True)
        client.flush()
        while not isinstance(event := await client.event(), StreamReset):
            assert event is not None
        assert (event.stream_id, event.error_code) == (late, ErrorCodes.REFUSED_STREAM)
        client.h2.reset_stream(3)
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, headers(ECHO, ("x-of-the-refused", "known by a number")))
        client.send(stream, prefixed(b""), end=True)
        assert await client.status(stream) == (Status.OK.value, "")


async def test_who_reads_much_may_open_the_windows_for_it(port: int) -> None:
    """Both windows, for each message: more than the allowance in all."""
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(ECHO_MANY)))
        for _ in range(12):
            client.send(frame(DATA, prefixed(b"") * 500, stream=1))
            for _ in range(500):
                size = len((await client.until(DATA)).payload)
                update = struct.pack(">I", size)
                client.send(frame(WINDOW_UPDATE, update) + frame(WINDOW_UPDATE, update, stream=1))
        client.send(frame(DATA, stream=1, flags=END_STREAM))
        await client.until(HEADERS, flags=END_STREAM)


class TestIdle:
    """A connection without a call is ended after a while."""

    @pytest.fixture
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(idle_seconds=0.3)

    @pytest.mark.parametrize("last", [b"", frame(PING, b"12345678"), opening(1) + reset(1)])
    async def test_who_asks_nothing_is_told_to_go(self, port: int, last: bytes) -> None:
        async with RawClient.connect(port) as client:
            client.send(PREFACE + last)
            assert await client.end() == ErrorCodes.NO_ERROR
            await check_others_are_served(port)

    async def test_who_has_asked_is_told_to_go_later(self, port: int) -> None:
        async with Http2Client.connect("127.0.0.1", port) as client:
            await check_served(client)
            while not isinstance(event := await client.event(), ConnectionTerminated):
                assert event is not None
            assert event.error_code == ErrorCodes.NO_ERROR

    async def test_a_call_that_is_silent_keeps_its_connection(self, port: int) -> None:
        async with RawClient.connect(port) as client:
            client.send(PREFACE + opening(1, headers(ECHO_MANY)))
            # One and a half of the time pass.
            await answer_to(port, UNREAD, ("grpc-timeout", "450m"))
            client.send(frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
            ended_at = monotonic()
            await client.until(HEADERS, flags=END_STREAM)
            assert await client.end() == ErrorCodes.NO_ERROR
            # It was counted from the end of the call.
            assert monotonic() - ended_at > 0.25

    async def test_a_client_of_a_library_connects_again(
        self, server: ObservedServer, port: int
    ) -> None:
        async with Channel("127.0.0.1", port, codec=codec.GrpcCodec()) as channel:
            echo = UnaryUnaryMethod[ChatMessage, ChatMessage](
                channel, ECHO, ChatMessage, ChatMessage
            )
            for _ in range(2):
                assert await echo(message()) == message()
                await eventually(lambda: server.open_connections() == 0)


class TestTls:
    """TLS has an end of its own, and a beginning that may fail."""

    @pytest.fixture
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(idle_seconds=0.3)

    @pytest.fixture
    def tls(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """Of the server, and of a client that believes it."""
        authority = trustme.CA()
        certified = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(certified)
        believing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(believing)
        return certified, believing

    @pytest.fixture
    async def port(
        self, server: ObservedServer, tls: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> AsyncIterator[int]:
        port = await server.listen("127.0.0.1", 0, tls[0])
        async with RawClient.connect(port, tls=tls[1]) as client:
            await client.until(SETTINGS)
        await eventually(lambda: server.open_connections() == 0)
        async with nothing_stays():
            yield port
            await eventually(lambda: server.open_connections() == 0)

    async def test_what_is_no_tls_is_not_kept(self, port: int) -> None:
        for said in [b"", PREFACE, b"GET / HTTP/1.1\r\n\r\n"]:
            async with RawClient.connect(port) as client:
                client.send(said)
                client.send_end()
                await client.end()

    async def test_what_is_no_http2_is_told_so(
        self, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> None:
        async with RawClient.connect(port, tls=tls[1]) as attacker:
            attacker.send(PREFACE + frame(DATA, b"a", stream=1))
            assert await attacker.end() == ErrorCodes.PROTOCOL_ERROR

    async def test_who_asks_nothing_is_told_to_go(
        self, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> None:
        async with RawClient.connect(port, tls=tls[1]) as client:
            client.send(PREFACE)
            assert await client.end() == ErrorCodes.NO_ERROR


class TestStall:
    """A client that asks for much and reads nothing is dropped."""

    @pytest.fixture
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(stall_seconds=0.2)

    async def test_who_reads_nothing_is_dropped(self, server: ObservedServer, port: int) -> None:
        large = struct.pack(">HI", 4, 2**31 - 1)
        async with RawClient.connect(port, receive_bytes=4096) as attacker:
            # It accepts the server's windows and opens its own as far as they go.
            attacker.send(MAGIC + frame(SETTINGS, large) + frame(SETTINGS, flags=ACK) * 2)
            attacker.send(frame(WINDOW_UPDATE, struct.pack(">I", 2**30)))
            echo = prefixed(bytes(message("room", "x" * 900)))
            for stream in range(1, 200, 2):
                attacker.send(opening(stream, headers(ECHO_MANY)))
                attacker.send(frame(DATA, echo * 16, stream=stream) * 15)
            await eventually(lambda: server.open_calls() > 0)
            await check_others_are_served(port)
            await eventually(lambda: server.open_connections() == 0)


FRAMES = st.builds(
    lambda kind, payload, flags, stream: frame(kind, payload, flags=flags, stream=stream),
    st.integers(0, 11),
    st.binary(max_size=20) | st.sampled_from([block(headers()), block(headers(ECHO_MANY))]),
    st.integers(0, 255) | st.sampled_from([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS]),
    st.integers(0, 6) | st.sampled_from([1, 3]),
)


@settings(SHARING, max_examples=300)
@given(frames=st.lists(FRAMES, max_size=12))
async def test_no_frames_make_the_server_fail(port: int, frames: list[bytes]) -> None:
    """What fails is found at the end, when nothing may have been logged."""
    async with RawClient.connect(port) as attacker:
        attacker.send(PREFACE + b"".join(frames))
        attacker.send_end()
        await attacker.end()
