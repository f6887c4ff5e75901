"""Connections: their number and streams, and how long they may be silent or unread."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic

import pytest
import trustme
from grpclib import Status
from grpclib.client import Channel, UnaryUnaryMethod
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset
from h2.settings import SettingCodes

import codec
from gen.chat import ChatMessage
from hosting.grpc.limits import ConnectionLimits
from tests.faults.remains import nothing_stays
from tests.hosting.grpc.probe import (
    ECHO,
    ECHO_MANY,
    UNREAD,
    ObservedServer,
    check_others_are_served,
    check_served,
)
from tests.kit.http2 import (
    ACK,
    DATA,
    END_STREAM,
    HEADERS,
    MAGIC,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Client,
    RawClient,
    frame,
    headers,
    opening,
    prefixed,
    reset,
)
from tests.support import eventually, message

REFUSED = struct.pack(">I", ErrorCodes.REFUSED_STREAM)


class TestHandshake:
    """A client is dropped unless it sends the HTTP/2 preface in time."""

    @pytest.fixture
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(handshake_seconds=0.5)

    @pytest.mark.parametrize("said", [b"", MAGIC[:1], MAGIC[:-1], MAGIC, PREFACE[:-1]])
    async def test_half_a_handshake_is_dropped(self, port: int, said: bytes) -> None:
        async with RawClient.connect(port) as client:
            for number in said:
                client.send(bytes([number]))
                await asyncio.sleep(0)
            assert await client.end() is None
            await check_others_are_served(port)

    async def test_greeted_client_may_be_silent(self, server: ObservedServer, port: int) -> None:
        async with RawClient.connect(port) as client, RawClient.connect(port) as silent:
            client.send(PREFACE)
            await silent.end()
            assert server.open_connections() == 1
            client.send(frame(PING, b"12345678"))
            await client.until(PING, flags=ACK)


async def test_silent_connection_makes_room(
    server: ObservedServer, port: int, limits: ConnectionLimits
) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(RawClient.connect(port)) for _ in range(300)]
        await check_others_are_served(port)
        assert server.open_connections() <= limits.connections
        # The oldest had to go.
        assert await silent[0].end() is None


async def test_connections_are_bounded(
    server: ObservedServer, port: int, limits: ConnectionLimits
) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Http2Client.connect("127.0.0.1", port))
            for _ in range(limits.connections)
        ]
        for client in clients:
            await check_served(client)
        async with RawClient.connect(port) as late:
            assert await late.end() == ErrorCodes.ENHANCE_YOUR_CALM
        assert server.open_connections() == limits.connections
        await check_served(clients[0])
    await eventually(lambda: server.open_connections() == 0)
    await check_others_are_served(port)


async def test_streams_are_bounded(
    server: ObservedServer, port: int, limits: ConnectionLimits
) -> None:
    """Streams on which nothing is sent cost no other client anything."""
    async with RawClient.connect(port) as attacker:
        announced = await attacker.until(SETTINGS)
        pairs = dict(struct.iter_unpack(">HI", announced.payload))
        assert pairs[SettingCodes.MAX_CONCURRENT_STREAMS] == limits.streams_per_connection
        opened = b"".join(
            opening(2 * n + 1, headers(ECHO_MANY)) for n in range(limits.streams_per_connection)
        )
        attacker.send(PREFACE + opened)
        await eventually(lambda: server.open_calls() == limits.streams_per_connection)
        await check_others_are_served(port)
        # One more is refused alone: the others go on, and the end of one frees a place.
        late = 2 * limits.streams_per_connection + 1
        attacker.send(opening(late, headers(ECHO_MANY)))
        refused = await attacker.until(RST_STREAM)
        assert (refused.stream, refused.payload) == (late, REFUSED)
        attacker.send(frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
        while (await attacker.until(HEADERS, flags=END_STREAM)).stream != 1:
            pass
        attacker.send(opening(late + 2) + frame(DATA, prefixed(b""), stream=late + 2, flags=1))
        while (await attacker.until(HEADERS, flags=END_STREAM)).stream != late + 2:
            pass


async def test_refused_stream_harms_no_other(port: int, limits: ConnectionLimits) -> None:
    """Its headers enter the HPACK table; its data is discarded."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        await check_served(client)  # the server's settings are known
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = (
            limits.streams_per_connection + 10
        )
        client.h2.remote_settings.acknowledge()
        for _ in range(limits.streams_per_connection):
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


async def test_window_updates_of_a_reader_are_free(port: int) -> None:
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
    """A connection without a call is closed after a while."""

    @pytest.fixture
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(idle_seconds=0.3)

    @pytest.mark.parametrize("last", [b"", frame(PING, b"12345678"), opening(1) + reset(1)])
    async def test_idle_connection_is_ended(self, port: int, last: bytes) -> None:
        async with RawClient.connect(port) as client:
            client.send(PREFACE + last)
            assert await client.end() == ErrorCodes.NO_ERROR
            await check_others_are_served(port)

    async def test_idle_time_begins_after_a_call(self, port: int) -> None:
        async with Http2Client.connect("127.0.0.1", port) as client:
            await check_served(client)
            while not isinstance(event := await client.event(), ConnectionTerminated):
                assert event is not None
            assert event.error_code == ErrorCodes.NO_ERROR

    async def test_silent_call_keeps_its_connection(self, port: int) -> None:
        async with RawClient.connect(port) as client:
            client.send(PREFACE + opening(1, headers(ECHO_MANY)))
            # One and a half times the limit pass.
            async with Http2Client.connect("127.0.0.1", port) as other:
                late = other.request(UNREAD, more=[("grpc-timeout", "450m")])
                assert (await other.status(late))[0] == Status.DEADLINE_EXCEEDED.value
            client.send(frame(DATA, prefixed(b""), stream=1, flags=END_STREAM))
            ended_at = monotonic()
            await client.until(HEADERS, flags=END_STREAM)
            assert await client.end() == ErrorCodes.NO_ERROR
            # Idle time began with the end of the call.
            assert monotonic() - ended_at > 0.25

    async def test_library_client_connects_again(self, server: ObservedServer, port: int) -> None:
        async with Channel("127.0.0.1", port, codec=codec.GrpcCodec()) as channel:
            echo = UnaryUnaryMethod[ChatMessage, ChatMessage](
                channel, ECHO, ChatMessage, ChatMessage
            )
            for _ in range(2):
                assert await echo(message()) == message()
                await eventually(lambda: server.open_connections() == 0)


class TestTls:
    """TLS has its own close, and a handshake that may fail."""

    @pytest.fixture
    def limits(self) -> ConnectionLimits:
        return ConnectionLimits(idle_seconds=0.3)

    @pytest.fixture
    def tls(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """The contexts of the server, and of a client that trusts it."""
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

    async def test_plain_text_is_not_kept(self, port: int) -> None:
        for said in [b"", PREFACE, b"GET / HTTP/1.1\r\n\r\n"]:
            async with RawClient.connect(port) as client:
                client.send(said)
                client.send_end()
                await client.end()

    async def test_protocol_error_is_told(
        self, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> None:
        async with RawClient.connect(port, tls=tls[1]) as attacker:
            attacker.send(PREFACE + frame(DATA, b"a", stream=1))
            assert await attacker.end() == ErrorCodes.PROTOCOL_ERROR

    async def test_idle_connection_is_ended(
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

    async def test_unread_connection_is_dropped(self, server: ObservedServer, port: int) -> None:
        large = struct.pack(">HI", 4, 2**31 - 1)
        async with RawClient.connect(port, receive_bytes=4096) as attacker:
            # It opens its own windows to their maximum.
            attacker.send(MAGIC + frame(SETTINGS, large) + frame(SETTINGS, flags=ACK) * 2)
            attacker.send(frame(WINDOW_UPDATE, struct.pack(">I", 2**30)))
            echo = prefixed(bytes(message("room", "x" * 900)))
            for stream in range(1, 200, 2):
                attacker.send(opening(stream, headers(ECHO_MANY)))
                attacker.send(frame(DATA, echo * 16, stream=stream) * 15)
            await eventually(lambda: server.open_calls() > 0)
            await check_others_are_served(port)
            await eventually(lambda: server.open_connections() == 0)


async def test_stop_says_goodbye(server: ObservedServer, client: Http2Client) -> None:
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


async def test_stop_waits_for_no_quiet_client(server: ObservedServer, port: int) -> None:
    """Neither for a client that sent nothing, nor for one that reads nothing."""
    async with Http2Client.connect("127.0.0.1", port) as client:
        client.request(UNREAD, prefixed(b""))
        client.flush()
        await eventually(lambda: server.open_streams() == 1)
        server.stop_listening()
        assert not await server.wait_idle(0.01)
        await server.go_away()
        assert server.open_streams() == 0
