"""grpclib with what it lacks for an open port: each of its traps, tried."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.const import Cardinality
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from structlog.testing import capture_logs

import codec
from gen.chat import ChatMessage
from tests.chat.http2 import Http2Client, prefixed
from tests.chat.probe import ECHO, ECHO_MANY, FAIL, LIMIT, MISS, UNREAD, ObservedServer
from tests.support import eventually, message, told


@pytest.fixture
async def server() -> AsyncIterator[ObservedServer]:
    server = ObservedServer()
    yield server
    server.stop_listening()
    await server.go_away()


@pytest.fixture
async def port(server: ObservedServer) -> int:
    return await server.listen("127.0.0.1", 0)


@pytest.fixture
async def client(port: int) -> AsyncIterator[Http2Client]:
    async with Http2Client.connect("127.0.0.1", port) as client:
        yield client


@pytest.fixture
async def channel(port: int) -> AsyncIterator[Channel]:
    channel = Channel("127.0.0.1", port, codec=codec.GrpcCodec())
    yield channel
    channel.close()


def message_of(size: int) -> bytes:
    """A message whose encoding has exactly this many bytes."""
    sent = message("r", "x" * (size - len(bytes(message("r", "x" * 500))) + 500))
    assert len(bytes(sent)) == size
    return bytes(sent)


async def call(channel: Channel, path: str) -> None:
    request = channel.request(path, Cardinality.UNARY_UNARY, ChatMessage, ChatMessage)
    async with request as stream:
        await stream.send_message(message())
        await stream.recv_message()


async def refusal(channel: Channel, path: str) -> GRPCError:
    with pytest.raises(GRPCError) as refused:
        await call(channel, path)
    return refused.value


@pytest.mark.parametrize("path", [ECHO, ECHO_MANY])
async def test_the_largest_message_fits_and_one_byte_more_does_not(
    client: Http2Client, path: str
) -> None:
    data, headers = await client.answer(client.request(path, prefixed(message_of(LIMIT)), end=True))
    assert (headers["grpc-status"], len(data)) == ("0", LIMIT + 5)
    stream = client.request(path, prefixed(message_of(LIMIT + 1)), end=True)
    assert await client.status(stream) == (
        Status.RESOURCE_EXHAUSTED.value,
        f"the message is larger than {LIMIT} bytes",
    )


@pytest.mark.parametrize("path", [ECHO, ECHO_MANY])
async def test_a_message_that_is_too_large_is_not_waited_for(
    client: Http2Client, path: str
) -> None:
    """Its announced size is enough to refuse it: nothing of it is ever buffered."""
    stream = client.request(path, prefixed(b"", size=2**32 - 1))
    status, _ = await client.status(stream)
    assert status == Status.RESOURCE_EXHAUSTED.value


async def test_after_a_message_that_is_too_large_the_connection_goes_on(
    server: ObservedServer, client: Http2Client
) -> None:
    for _ in range(10):
        stream = client.request(ECHO_MANY, prefixed(b"x" * 20_000))
        assert (await client.status(stream))[0] == Status.RESOURCE_EXHAUSTED.value
    _, headers = await client.answer(client.request(ECHO, prefixed(message_of(500)), end=True))
    assert headers["grpc-status"] == "0"
    assert server.open_streams() == 0


async def test_streams_that_are_reset_at_once_are_released(
    server: ObservedServer, client: Http2Client
) -> None:
    """Their handlers are cancelled before they have begun."""
    for _ in range(20):
        for _ in range(50):
            client.h2.reset_stream(client.request(ECHO_MANY), ErrorCodes.CANCEL)
        _, headers = await client.answer(client.request(ECHO, prefixed(b""), end=True))
        assert headers["grpc-status"] == "0"
    await eventually(lambda: server.open_streams() == 0)


async def test_streams_that_are_reset_later_are_released(
    server: ObservedServer, client: Http2Client
) -> None:
    streams = [client.request(ECHO_MANY, prefixed(b"")) for _ in range(50)]
    client.flush()
    await eventually(lambda: server.open_streams() == 50)
    for stream in streams:
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()
    await eventually(lambda: server.open_streams() == 0)


async def test_streams_of_a_lost_connection_are_released(server: ObservedServer, port: int) -> None:
    async with Http2Client.connect("127.0.0.1", port) as client:
        for path in (ECHO_MANY, UNREAD) * 20:
            client.request(path, prefixed(b""))
        client.flush()
        await eventually(lambda: server.open_streams() == 40)
    await eventually(lambda: server.open_streams() == 0)


async def test_calls_that_come_too_late_are_not_kept(server: ObservedServer, port: int) -> None:
    """An error that is raised again keeps the frames of each time, and the connections there."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        for _ in range(3):
            stream = client.request(ECHO, more=[("grpc-timeout", "0S")])
            assert (await client.status(stream))[0] == Status.DEADLINE_EXCEEDED.value
    await eventually(lambda: server.open_connections() == 0)
    gc.collect()  # a connection's objects know each other
    assert len(server.protocols) == 0


MALFORMED = [
    b"\x0a\x05ab",  # a string that is cut short
    b"\x0a",  # a tag without its value
    b"\x0a\x01\xff",  # not UTF-8
    b"\x07",  # no such wire type
    b"\x00\x01",  # no such field number
    b"\xff" * 20,  # a number without an end
]


@pytest.mark.parametrize("payload", MALFORMED)
@pytest.mark.parametrize("path", [ECHO, ECHO_MANY])
async def test_a_malformed_message_is_the_clients_mistake(
    client: Http2Client, path: str, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        stream = client.request(path, prefixed(payload), end=True)
        status, text = await client.status(stream)
    assert status == Status.INVALID_ARGUMENT.value
    assert text.startswith("message: ")
    assert "Traceback" not in text
    assert told(logs) == []
    assert caplog.records == []


CUT_SHORT = {
    "within the prefix": b"\0\0\0",
    "after the prefix": prefixed(b"", size=10),
    "within the message": prefixed(b"\x0a\x03", size=10),
}


@pytest.mark.parametrize("data", CUT_SHORT.values(), ids=CUT_SHORT.keys())
@pytest.mark.parametrize("path", [ECHO, ECHO_MANY])
async def test_a_message_that_is_cut_short_is_the_clients_mistake(
    client: Http2Client, path: str, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        status = await client.status(client.request(path, data, end=True))
    assert status == (Status.INVALID_ARGUMENT.value, "message: is missing or cut short")
    assert told(logs) == []
    assert caplog.records == []


async def test_a_unary_call_without_a_message_is_the_clients_mistake(client: Http2Client) -> None:
    with capture_logs() as logs:
        status = await client.status(client.request(ECHO, end=True))
    assert status == (Status.INVALID_ARGUMENT.value, "message: is missing or cut short")
    assert told(logs) == []


async def test_empty_frames_are_no_end(client: Http2Client) -> None:
    whole = prefixed(message_of(500))
    stream = client.request(ECHO_MANY)
    for piece in (b"", whole[:3], b"", whole[3:100], b"", whole[100:]):
        client.h2.send_data(stream, piece)
    client.h2.end_stream(stream)
    data, headers = await client.answer(stream)
    assert (headers["grpc-status"], data) == ("0", whole)


async def test_a_compressed_message_is_not_understood(client: Http2Client) -> None:
    with capture_logs() as logs:
        stream = client.request(ECHO, prefixed(b"any", compressed=True), end=True)
        status, text = await client.status(stream)
    assert (status, text) == (Status.UNIMPLEMENTED.value, "compression is not supported")
    assert told(logs) == []


async def test_a_method_that_is_not_there(client: Http2Client) -> None:
    status, _ = await client.status(client.request("/probe.Probe/Nothing", prefixed(b""), end=True))
    assert status == Status.UNIMPLEMENTED.value


async def test_a_defect_is_told_to_the_log_and_not_to_the_client(channel: Channel) -> None:
    with capture_logs() as logs:
        error = await refusal(channel, FAIL)
    assert (error.status, error.message) == (Status.INTERNAL, "internal error")
    [line] = told(logs)
    assert (line["event"], line["method"], line["log_level"]) == ("call failed", FAIL, "error")
    assert line["exc_info"]


async def test_a_refusal_tells_the_client_and_not_the_log(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        error = await refusal(channel, MISS)
    assert (error.status, error.message) == (Status.NOT_FOUND, "there is no such thing: ☃")
    assert told(logs) == []
    assert caplog.records == []


async def test_unread_streams_stall_no_other(client: Http2Client) -> None:
    """Their own windows are used up; that of the connection has room for the others."""
    await client.answer(client.request(ECHO, prefixed(b""), end=True))
    for _ in range(4):
        unread = client.request(UNREAD)
        while window := client.h2.local_flow_control_window(unread):
            client.send(unread, b"x" * min(window, 16_384))
    for _ in range(20):
        data, _ = await client.answer(client.request(ECHO, prefixed(message_of(500)), end=True))
        assert len(data) == 505


async def test_a_stop_says_goodbye(server: ObservedServer, client: Http2Client) -> None:
    stream = client.request(ECHO, prefixed(b""), end=True)
    await client.answer(stream)
    server.stop_listening()
    going = asyncio.create_task(server.go_away())
    events = []
    while (event := await client.event()) is not None:
        events.append(event)
    await going
    [goodbye] = [event for event in events if isinstance(event, ConnectionTerminated)]
    assert goodbye.error_code == ErrorCodes.NO_ERROR
    assert goodbye.last_stream_id == stream


async def test_a_stop_waits_for_no_client_that_is_gone_quiet(
    server: ObservedServer, port: int
) -> None:
    """Not for one that never said a word, and not for one that reads nothing."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        client.request(UNREAD, prefixed(b""))
        client.flush()
        await eventually(lambda: server.open_streams() == 1)
        server.stop_listening()
        assert not await server.wait_idle(0.01)
        await server.go_away()
        assert server.open_streams() == 0
