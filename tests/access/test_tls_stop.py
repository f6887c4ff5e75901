"""An orderly stop over TLS, whose transports cannot half-close."""

import asyncio
import logging
import signal
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import WSCloseCode, WSMsgType
from h2.errors import ErrorCodes

import chat
import proxy
from hosting.tls import Tls, TlsFiles
from tests.access.certificates import Authority
from tests.faults.remains import open_files
from tests.kit.http2 import GOAWAY, PING, PREFACE, frame
from tests.kit.processes import ended, ready_line, running
from tests.kit.web import handshake, masked, split_frames
from tests.support import PATIENCE_SECONDS, eventually

SECONDS = 0.5
MUCH = 50
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certified"))


@pytest.fixture
def files(authority: Authority) -> TlsFiles:
    return authority.files("127.0.0.1")


@pytest.fixture
def believing(authority: Authority) -> ssl.SSLContext:
    return Tls.client(TlsFiles(authorities=authority.root)).context


class Door:
    """One of both doors, and its bytes.

    Attributes:
        greeting: opens a connection.
        greeted: part of the end of its answer.
        chatter: bytes that a client may send repeatedly.
    """

    greeting: bytes
    greeted: bytes
    chatter: bytes

    def __init__(self, files: TlsFiles, folder: Path) -> None:
        self.files = files
        self.folder = folder

    def serve(self) -> AbstractAsyncContextManager[Any]:
        """Opens the door on a free port."""
        raise NotImplementedError

    def was_told(self, received: bytes) -> bool:
        """Whether the bytes tell a client of the stop."""
        raise NotImplementedError


class WebSocketDoor(Door):
    """The door of the proxy."""

    greeting = handshake()
    greeted = b"\r\n\r\n"
    chatter = masked(WSMsgType.TEXT, b"{}")
    config = proxy.Config(host="127.0.0.1", port=0, upstream="127.0.0.1:1", drain_seconds=SECONDS)

    def serve(self) -> AbstractAsyncContextManager[Any]:
        """Opens the door; no server is behind it."""
        return proxy.serve(replace(self.config, tls=self.files))

    def was_told(self, received: bytes) -> bool:
        frames = split_frames(received.partition(b"\r\n\r\n")[2])
        return [each.close_code for each in frames if each.opcode == WSMsgType.CLOSE] == [1001]


class GrpcDoor(Door):
    """The door of the server."""

    greeting = PREFACE
    greeted = frame(4, flags=1)
    chatter = frame(PING, b"12345678")

    def serve(self) -> AbstractAsyncContextManager[Any]:
        trust = chat.Trust(tls=self.files)
        database = str(self.folder / "chat.db")
        return chat.serve(chat.Config(host="127.0.0.1", port=0, database=database, trust=trust))

    def was_told(self, received: bytes) -> bool:
        reasons = []
        while len(received) >= 9:
            size = 9 + int.from_bytes(received[:3], "big")
            if received[3] == GOAWAY:
                reasons.append(struct.unpack(">I", received[13:17])[0])
            received = received[size:]
        return reasons == [ErrorCodes.NO_ERROR]


DOORS = {"websocket": WebSocketDoor, "grpc": GrpcDoor}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, files: TlsFiles, tmp_path: Path) -> Door:
    kind: type[Door] = DOORS[request.param]
    return kind(files, tmp_path)


@pytest.fixture(params=LOOPS)
def run(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on an event loop: nothing may fail in it unseen."""

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        complaints: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.get_loop().set_exception_handler(lambda _, said: complaints.append(said))
            runner.run(coroutine)
        assert complaints == []
        assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []

    return run


@asynccontextmanager
async def connected(
    door: Door, port: int, believing: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]]:
    """A greeted connection, and the bytes received on it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=believing)
    try:
        writer.write(door.greeting)
        async with asyncio.timeout(PATIENCE_SECONDS):
            received = await reader.readuntil(door.greeted)
        yield reader, writer, received
    finally:
        writer.transport.abort()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All bytes until the end, orderly or not."""
    received = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            while data := await reader.read(65536):
                received += data
        except (ConnectionError, ssl.SSLError):
            pass
    return received


async def check_told(door: Door, believing: ssl.SSLContext, *, sends: bool) -> None:
    """Checks that a client is told of the stop, whether it goes on sending or not."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with door.serve() as server:
            client = connected(door, server.port, believing)
            reader, writer, received = await client.__aenter__()
            reading = asyncio.create_task(rest(reader))
            sending = asyncio.create_task(_send(writer, door.chatter * 100 if sends else b""))
        assert door.was_told(received + await reading)
        sending.cancel()
        await asyncio.wait([sending])
        await client.__aexit__(None, None, None)


async def check_answered(door: WebSocketDoor, believing: ssl.SSLContext) -> None:
    """Checks that a stop ends with the answers, which a client sends and waits for the end."""
    patience = 10 * PATIENCE_SECONDS
    door.config = replace(door.config, drain_seconds=patience, heartbeat_seconds=patience)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with door.serve() as server:
            client = connected(door, server.port, believing)
            reader, writer, received = await client.__aenter__()
            answering = asyncio.create_task(_answer(reader, writer))
        assert door.was_told(received + await answering)
        await client.__aexit__(None, None, None)


async def check_aborted(door: Door, believing: ssl.SSLContext) -> None:
    """Checks that a client that broke a rule, and does not end TLS, is let go."""
    async with door.serve() as server, connected(door, server.port, believing) as client:
        files = open_files()
        _, writer, _ = client
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as one that writes
        writer.write(b"\x81\x02{}")
        await eventually(lambda: open_files() < files)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    told = await reader.read(65536)
    writer.write(masked(WSMsgType.CLOSE, struct.pack("!H", WSCloseCode.GOING_AWAY)))
    return told + await rest(reader)


async def _send(writer: asyncio.StreamWriter, chatter: bytes) -> None:
    while chatter and not writer.transport.is_closing():
        writer.write(chatter)
        await asyncio.sleep(0.005)


async def check_ends(door: Door, believing: ssl.SSLContext) -> None:
    """Checks that a client that reads nothing delays no stop."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with door.serve() as server:
            client = connected(door, server.port, believing)
            _, writer, _ = await client.__aenter__()
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as one that writes
            writer.write(door.chatter * 3000)
            await asyncio.sleep(0)
        await client.__aexit__(None, None, None)


@pytest.mark.parametrize("sends", [False, True], ids=["is silent", "sends"])
def test_stop_tells_a_reader(
    run: Callable[[Coroutine[Any, Any, None]], None],
    door: Door,
    believing: ssl.SSLContext,
    sends: bool,
) -> None:
    run(check_told(door, believing, sends=sends))


def test_stop_waits_for_no_deaf_reader(
    run: Callable[[Coroutine[Any, Any, None]], None], door: Door, believing: ssl.SSLContext
) -> None:
    run(check_ends(door, believing))


def test_stop_waits_no_longer_than_for_the_answer(
    run: Callable[[Coroutine[Any, Any, None]], None],
    files: TlsFiles,
    believing: ssl.SSLContext,
    tmp_path: Path,
) -> None:
    run(check_answered(WebSocketDoor(files, tmp_path), believing))


def test_deaf_client_is_aborted_once_it_was_closed(
    run: Callable[[Coroutine[Any, Any, None]], None],
    files: TlsFiles,
    believing: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.clients.socket._QUIET_SECONDS", 0.01)
    monkeypatch.setattr("proxy.clients.socket._LINGER_SECONDS", 0.1)
    run(check_aborted(WebSocketDoor(files, tmp_path), believing))


@pytest.mark.parametrize("module", ["proxy", "chat"])
async def test_stopped_process_ends_with_0(
    module: str, files: TlsFiles, believing: ssl.SSLContext, tmp_path: Path
) -> None:
    door = (WebSocketDoor if module == "proxy" else GrpcDoor)(files, tmp_path)
    own = (
        ["--upstream", "127.0.0.1:1", "--drain-seconds", "0.5"]
        if module == "proxy"
        else ["--database", ":memory:"]
    )
    tls = ["--tls-certificate", files.certificate, "--tls-key", files.key]
    async with running(module, "--host", "127.0.0.1", "--port", "0", *own, *tls) as process:
        port = int((await ready_line(process)).rstrip("/\n").rpartition(":")[2])
        async with connected(door, port, believing) as (reader, _, received):
            process.send_signal(signal.SIGTERM)
            assert door.was_told(received + await rest(reader))
        assert (await ended(process)).status == 0
