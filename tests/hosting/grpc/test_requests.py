"""Calls from headers to status: malformed, refused, late, too large or valid."""

import gc
import re
import struct
from collections.abc import MutableMapping
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from h2.errors import ErrorCodes

import codec
from gen.chat import ChatMessage
from tests.hosting.grpc.probe import (
    ECHO,
    ECHO_MANY,
    FAIL,
    LIMIT,
    MISS,
    UNREAD,
    UNWRITTEN,
    WAIT_IN_VAIN,
    ObservedServer,
    check_served,
)
from tests.kit.http2 import (
    ALTSVC,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PREFACE,
    RST_STREAM,
    Headers,
    Http2Client,
    RawClient,
    frame,
    headers,
    opening,
    prefixed,
)
from tests.support import eventually, message, told

MALFORMED = struct.pack(">I", ErrorCodes.PROTOCOL_ERROR)
WHOLE = prefixed(bytes(message("room", "x" * 500)))


def message_of(size: int) -> bytes:
    """A message whose encoding has exactly this many bytes."""
    sent = message("r", "x" * (size - len(bytes(message("r", "x" * 500))) + 500))
    assert len(bytes(sent)) == size
    return bytes(sent)


REQUESTS: dict[str, Headers] = {
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


TRAILERS: dict[str, Headers] = {
    "a pseudo-header": [(":path", "/x")],
    "a capital": [("X", "x")],
    "a line feed": [("x", "a\nb")],
}
RESET = {
    **{f"request: {name}": opening(3, fields) for name, fields in REQUESTS.items()},
    **{
        f"trailers: {name}": opening(3, headers(ECHO_MANY))
        + opening(3, fields, flags=END_HEADERS | END_STREAM)
        for name, fields in TRAILERS.items()
    },
    **{
        f"length: {size} for 5": opening(3, headers(ECHO, ("content-length", size)))
        + frame(DATA, prefixed(b""), stream=3, flags=END_STREAM)
        for size in ("4", "6")
    },
}


@pytest.mark.parametrize("malformed", RESET.values(), ids=RESET.keys())
async def test_malformed_stream_is_reset_alone(port: int, malformed: bytes) -> None:
    """The connection goes on, with the calls that are open on it."""
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(ECHO_MANY)) + malformed)
        reset = await client.until(RST_STREAM)
        assert (reset.stream, reset.payload) == (3, MALFORMED)
        client.send(frame(DATA, prefixed(b""), stream=1))
        assert (await client.until(DATA)).stream == 1
        client.send(opening(5) + frame(DATA, prefixed(b""), stream=5, flags=END_STREAM))
        assert (await client.until(HEADERS, flags=END_STREAM)).stream == 5


LAST = frame(DATA, WHOLE, stream=1, flags=END_STREAM)
UNUSUAL = {
    "a length that is true, and trailers": opening(
        1, headers(ECHO, ("content-length", str(len(WHOLE))))
    )
    + frame(DATA, WHOLE, stream=1)
    + opening(1, [("x", "y")], flags=END_HEADERS | END_STREAM),
    "a header that is not ASCII": opening(1, headers(ECHO, ("x", b"\xff\xfe"))) + LAST,
    "a byte a frame, with more padding than data": opening(1)
    + b"".join(frame(DATA, bytes([3, n, 0, 0, 0]), stream=1, flags=PADDED) for n in WHOLE)
    + frame(DATA, stream=1, flags=END_STREAM),
    "empty frames between": opening(1, headers(ECHO_MANY))
    + b"".join(
        frame(DATA, piece, stream=1)
        for piece in (b"", WHOLE[:3], b"", WHOLE[3:100], b"", WHOLE[100:])
    )
    + frame(DATA, stream=1, flags=END_STREAM),
    # RFC 9113, section 5.5: extensions.
    **{
        f"frames of type {kind}": frame(kind, b"\0\1ab")
        + opening(1)
        + frame(kind, b"\0\0ab", stream=1)
        + LAST
        for kind in (ALTSVC, 0x77, 0xFF)
    },
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL.keys())
async def test_unusual_call_is_answered(port: int, data: bytes) -> None:
    async with RawClient.connect(port) as client:
        client.send(PREFACE + data)
        assert (await client.until(DATA)).payload == WHOLE
        await client.until(HEADERS, flags=END_STREAM)


DEADLINE = {"grpc-status": "4"}
NO_DEADLINE = {"grpc-status": "3", "grpc-message": "grpc-timeout: is malformed"}
NOT_BASE64 = {"grpc-status": "3", "grpc-message": "metadata: a binary value is not base64"}
TOO_LONG = "9" * 400 + "S"
MALFORMED_TIMES = ["", "1", "S", "1x", "-1S", "1.5S", "\u0661S", TOO_LONG]
TYPES = ["", "text/html", "application/grpc+json", "application/grpc;"]
# A path, a header that replaces or joins the usual ones, and headers of the answer.
ANSWERS: list[tuple[str, str, str, dict[str, str]]] = [
    *[(ECHO, "grpc-timeout", value, NO_DEADLINE) for value in MALFORMED_TIMES],
    *[
        (UNREAD, "grpc-timeout", value, DEADLINE)
        for value in ("0S", "0n", "00000000H", "1n", "1u", "20m")
    ],
    *[
        (ECHO, "grpc-timeout", value, {"grpc-status": "0"})
        for value in ("99999999H", "30S", "60000m")
    ],
    *[(ECHO, "x-bin", value, NOT_BASE64) for value in ("a", "abcde", "\N{SNOWMAN}")],
    *[(ECHO, "content-type", value, {":status": "415"}) for value in TYPES],
    # With a content-type: grpclib's clients take an answer without one for UNKNOWN.
    ("/probe.Probe/Nothing", "x", "y", {"grpc-status": "12", "content-type": "application/grpc"}),
]


@pytest.mark.parametrize(("path", "name", "value", "expected"), ANSWERS)
async def test_header_decides_the_answer(
    port: int, path: str, name: str, value: str, expected: dict[str, str]
) -> None:
    """The connection goes on."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        stream = client.h2.get_next_available_stream_id()
        client.h2.config.validate_outbound_headers = False
        client.h2.send_headers(stream, [*dict([*headers(path), (name, value)]).items()])
        client.send(stream, prefixed(bytes(message())))
        _, answer = await client.answer(stream)
        assert expected.items() <= answer.items()
        await check_served(client)


MISTAKE = Status.INVALID_ARGUMENT
CUT_SHORT = "message: is missing or cut short"
TOO_LARGE = f"the message is larger than {LIMIT} bytes"
NOT_COMPRESSED = "compression is not supported"
# Data followed by END_STREAM, the status, and a pattern of its text.
BAD_DATA = {
    "a string cut short": (prefixed(b"\x0a\x05ab"), MISTAKE, "message: .*"),
    "not UTF-8": (prefixed(b"\x0a\x01\xff"), MISTAKE, "message: .*"),
    "cut within the prefix": (b"\0\0\0", MISTAKE, CUT_SHORT),
    "cut after the prefix": (prefixed(b"", size=10), MISTAKE, CUT_SHORT),
    "cut within the message": (prefixed(b"\x0a\x03", size=10), MISTAKE, CUT_SHORT),
    "a byte too many": (prefixed(message_of(LIMIT + 1)), Status.RESOURCE_EXHAUSTED, TOO_LARGE),
    "compressed": (prefixed(b"", compressed=True), Status.UNIMPLEMENTED, NOT_COMPRESSED),
}


@pytest.mark.parametrize("path", [ECHO, ECHO_MANY])
@pytest.mark.parametrize(("data", "status", "text"), BAD_DATA.values(), ids=BAD_DATA.keys())
async def test_bad_data_is_the_clients_mistake(
    client: Http2Client, path: str, data: bytes, status: Status, text: str
) -> None:
    got, said = await client.status(client.request(path, data, end=True))
    assert got == status.value
    assert re.fullmatch(text, said)
    assert "Traceback" not in said


async def test_unary_call_needs_a_message(client: Http2Client) -> None:
    status = await client.status(client.request(ECHO, end=True))
    assert status == (Status.INVALID_ARGUMENT.value, CUT_SHORT)


async def test_compressed_message_is_answered_with_encodings(port: int) -> None:
    async with Http2Client.connect("127.0.0.1", port) as client:
        whole = prefixed(b"anything", compressed=True)
        more = [("grpc-encoding", "gzip")]
        _, answer = await client.answer(client.request(ECHO, whole, end=True, more=more))
        assert answer["grpc-status"] == str(Status.UNIMPLEMENTED.value)
        assert answer["grpc-accept-encoding"] == "identity"


@pytest.mark.parametrize("path", [ECHO, ECHO_MANY])
async def test_size_limit_is_decided_by_the_prefix(client: Http2Client, path: str) -> None:
    """The largest message fits; a larger one is refused once its length is known."""
    data, answer = await client.answer(client.request(path, prefixed(message_of(LIMIT)), end=True))
    assert (answer["grpc-status"], len(data)) == ("0", LIMIT + 5)
    status, _ = await client.status(client.request(path, prefixed(b"", size=2**32 - 1)))
    assert status == Status.RESOURCE_EXHAUSTED.value


async def test_connection_survives_large_messages(
    server: ObservedServer, client: Http2Client
) -> None:
    for _ in range(10):
        stream = client.request(ECHO_MANY, prefixed(b"x" * 20_000))
        assert (await client.status(stream))[0] == Status.RESOURCE_EXHAUSTED.value
    _, headers = await client.answer(client.request(ECHO, prefixed(message_of(500)), end=True))
    assert headers["grpc-status"] == "0"
    assert server.open_streams() == 0


async def test_stream_reset_at_once_is_released(
    server: ObservedServer, client: Http2Client
) -> None:
    """Its handler is cancelled before it has begun."""
    for _ in range(20):
        for _ in range(50):
            client.h2.reset_stream(client.request(ECHO_MANY), ErrorCodes.CANCEL)
        _, headers = await client.answer(client.request(ECHO, prefixed(b""), end=True))
        assert headers["grpc-status"] == "0"
    await eventually(lambda: server.open_streams() == 0)


async def test_stream_reset_later_is_released(server: ObservedServer, client: Http2Client) -> None:
    streams = [client.request(ECHO_MANY, prefixed(b"")) for _ in range(30)]
    client.flush()
    await eventually(lambda: server.open_streams() == 30)
    for stream in streams:
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()
    await eventually(lambda: server.open_streams() == 0)


async def test_stream_of_lost_connection_is_released(server: ObservedServer, port: int) -> None:
    async with Http2Client.connect("127.0.0.1", port) as client:
        for path in (ECHO_MANY, UNREAD) * 15:
            client.request(path, prefixed(b""))
        client.flush()
        await eventually(lambda: server.open_streams() == 30)
    await eventually(lambda: server.open_streams() == 0)


async def test_ends_of_calls_are_counted(server: ObservedServer, client: Http2Client) -> None:
    late = client.request(UNREAD, more=[("grpc-timeout", "1m")])
    assert (await client.status(late))[0] == Status.DEADLINE_EXCEEDED.value
    reset = client.request(UNREAD, more=[("grpc-timeout", "1H")])
    client.flush()
    await eventually(lambda: server.open_streams() == 1)
    client.h2.reset_stream(reset, ErrorCodes.CANCEL)
    client.flush()
    await client.answer(client.request(ECHO, WHOLE, end=True))
    await eventually(lambda: server.open_streams() == 0)
    assert server.ended == {
        (UNREAD, "DEADLINE_EXCEEDED"): 1, (UNREAD, "CANCELLED"): 1, (ECHO, "OK"): 1,
    }  # fmt: skip


async def test_late_call_is_not_kept(server: ObservedServer, port: int) -> None:
    """An exception raised again keeps the frames of each time, and their connections."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        for _ in range(3):
            stream = client.request(ECHO, more=[("grpc-timeout", "0S")])
            assert (await client.status(stream))[0] == Status.DEADLINE_EXCEEDED.value

    def all_gone() -> bool:
        gc.collect()  # a connection's objects know each other
        return not server.protocols

    await eventually(all_gone)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (FAIL, Status.INTERNAL, "internal error"),
        (UNWRITTEN, Status.INTERNAL, "internal error"),
        (WAIT_IN_VAIN, Status.INTERNAL, "internal error"),
        (MISS, Status.NOT_FOUND, "there is no such thing: \N{SNOWMAN}"),
    ],
)
async def test_failure_is_told_to_log_or_client(
    server: ObservedServer,
    port: int,
    logs: list[MutableMapping[str, Any]],
    path: str,
    status: Status,
    text: str,
) -> None:
    """A defect goes to the log alone, a refusal to the client alone."""
    async with Channel("127.0.0.1", port, codec=codec.GrpcCodec()) as channel:
        call = UnaryUnaryMethod[ChatMessage, ChatMessage](channel, path, ChatMessage, ChatMessage)
        with pytest.raises(GRPCError) as refused:
            await call(message())
    assert (refused.value.status, refused.value.message) == (status, text)
    assert server.ended[path, status.name] == 1
    if status is Status.INTERNAL:
        [line] = told(logs)
        assert (line["event"], line["method"], line["log_level"]) == ("call failed", path, "error")
        assert line["exc_info"]
        logs.clear()


async def test_unread_stream_stalls_no_other(client: Http2Client) -> None:
    """Its own window is used up; that of the connection has room for others."""
    await client.answer(client.request(ECHO, prefixed(b""), end=True))
    for _ in range(4):
        unread = client.request(UNREAD)
        while window := client.h2.local_flow_control_window(unread):
            client.send(unread, b"x" * min(window, 16_384))
    for _ in range(20):
        data, _ = await client.answer(client.request(ECHO, prefixed(message_of(500)), end=True))
        assert len(data) == 505
