"""Attacks by the thousand on a proxy process, whose memory is measured before and after."""

import asyncio
import json
import os
import re
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
from aiohttp import WSMsgType

import chat
import proxy
from tests.faults.bystanders import Bystanders
from tests.faults.flood import memory_bytes
from tests.faults.world import UNLIMITED
from tests.kit.processes import Daemon, logged
from tests.kit.web import Wire, answer_to, get, handshake, masked, request, status
from tests.support import eventually

# Of so many attacks, one after the first must add less than so many bytes of memory.
ATTACKS: Final = 5
TOLERANCE: Final = 3 * 1024 * 1024
HALF_OPEN: Final = 2000
PINGS: Final = 20_000
# More than there may be connections, by default.
FILES: Final = 16_000
# Long enough to open all of them before the first one is dropped.
HANDSHAKE_SECONDS: Final = 6
ROOMS: Final = 100_000
MORE_ROOMS: Final = 200
ROOMS_BOUND: Final = proxy.Config().rooms_per_connection

_OBJECT: Final = b'":{"'
_LOG_LINE: Final = re.compile(r"timestamp=\S+ level=[a-z]+ logger=\S+ event=.+")

Attack = Callable[[], Awaitable[None]]


class Victim:
    """A proxy under attack, and its bystanders.

    Attributes:
        port: the port to attack.
        others: the bystanders.
    """

    def __init__(self, daemon: Daemon, others: Bystanders) -> None:
        self.port = port_of(daemon)
        self.others = others
        self._process = psutil.Process(daemon.pid)
        self._files = self._process.num_fds()

    @property
    def taken(self) -> int:
        """Number of connections beside those of the bystanders."""
        return self._process.num_fds() - self._files

    async def outlives(self, attack: Attack) -> None:
        """Attacks repeatedly until an attack leaves no growth: a leak would grow every time.

        Memory that the first attack frees is reused by the next; fragmentation varies, so a
        second attack may need some more.
        """
        await self._attacked(attack)
        weighed = [memory_bytes(self._process.pid)]
        while len(weighed) < ATTACKS:
            await self._attacked(attack)
            weighed.append(memory_bytes(self._process.pid))
            if weighed[-1] - weighed[-2] < TOLERANCE:
                return
        raise AssertionError(f"its memory grows: {weighed}")

    async def _attacked(self, attack: Attack) -> None:
        await attack()
        await eventually(lambda: self.taken <= 0)
        # It does so as soon as another event wakes it.
        self._process.send_signal(signal.SIGRTMIN)
        await self.others.check()
        await self.others.check()

    @asynccontextmanager
    async def flooded(self) -> AsyncIterator[Wire]:
        """Opens an attacking WebSocket; meanwhile, messages of others pass."""
        async with await Wire.websocket(self.port) as wire:
            yield wire


def port_of(daemon: Daemon) -> int:
    """The port of a proxy."""
    return urlsplit(daemon.address).port or 0


@asynccontextmanager
async def running(
    log: Path, upstream: str, *options: str
) -> AsyncIterator[tuple[Daemon, Bystanders]]:
    """Runs a proxy as a process, and bystanders that leave at the end."""
    fixed = ("--port", "0", "--metrics-port", "off", "--upstream", upstream, *UNLIMITED)
    async with (
        logged("tests.faults.tidy_proxy", log, *fixed, *options) as daemon,
        aiohttp.ClientSession() as session,
    ):
        others = await Bystanders.meet(session, port_of(daemon))
        yield daemon, others
        await others.part()


def lines(log: Path) -> list[str]:
    """The lines of a log; each must be one event."""
    found = log.read_text(encoding="utf-8").splitlines()
    for line in found:
        assert _LOG_LINE.fullmatch(line), line
        assert line.isprintable(), line
        assert "Traceback" not in line, line
    return found


@contextmanager
def open_files_limit(limit: int) -> Iterator[None]:
    """Sets a limit that processes started meanwhile inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """Raises the limit of open files, as thousands of connections need it."""
    with open_files_limit(FILES):
        yield


@pytest.fixture
def chat_config() -> chat.Config:
    """A server in memory: the proxy is the one attacked."""
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


@pytest.fixture
async def victim(chat_server: chat.RunningServer, tmp_path: Path) -> AsyncIterator[Victim]:
    """A proxy to attack, which must log its link to the server and nothing else."""
    options = {"connections": HALF_OPEN + 1000, "handshake-seconds": HANDSHAKE_SECONDS}
    options["heartbeat-seconds"] = 600
    told = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    log = tmp_path / "proxy.log"
    async with running(log, chat_server.address, *told) as (daemon, others):
        yield Victim(daemon, others)
    [connected] = lines(log)
    assert 'event="upstream connected"' in connected


def join(room: str) -> bytes:
    return masked(WSMsgType.TEXT, json.dumps({"join": {"room_id": room}}).encode())


def leave(room: str) -> bytes:
    return masked(WSMsgType.TEXT, json.dumps({"leave": {"room_id": room}}).encode())


async def exchange(wire: Wire, frames: Iterable[bytes], answers: int) -> bytes:
    """Sends frames, and reads until each is answered by one object."""
    sending = asyncio.create_task(wire.send(b"".join(frames)))
    pieces, found, tail = [], 0, b""
    while found < answers:
        piece = await wire.receive()
        assert piece, "cut off"
        # Each frame read here has one.
        found += (tail + piece).count(_OBJECT)
        tail = (tail + piece)[1 - len(_OBJECT) :]
        pieces.append(piece)
    await sending
    return b"".join(pieces)


@pytest.mark.timeout(150)
async def test_proxy_drops_half_open_connections(victim: Victim) -> None:
    """They exist together, end in time, and keep no others out meanwhile."""
    said = handshake()[:-2]

    async def attack() -> None:
        async with AsyncExitStack() as stack:
            wires = []
            for _ in range(HALF_OPEN):
                wires.append(await stack.enter_async_context(await Wire.open(victim.port)))
                await wires[-1].send(said)
            # The last connection is accepted last.
            await eventually(lambda: victim.taken >= HALF_OPEN)
            await victim.others.check()
            assert status(await answer_to(victim.port, get("/"))) == 200
            assert {await wire.rest() for wire in wires} == {b""}

    await victim.outlives(attack)


@pytest.mark.timeout(150)
async def test_proxy_forgets_vanished_clients(victim: Victim) -> None:
    """They vanish in the middle of a frame, each as a member of a room."""

    async def attack() -> None:
        async with AsyncExitStack() as stack:
            for number in range(1000):
                wire = await stack.enter_async_context(await Wire.websocket(victim.port))
                await wire.send(
                    join(f"room {number}") + masked(WSMsgType.TEXT, b"half a frame")[:9]
                )
            await victim.others.check()

    await victim.outlives(attack)


@pytest.mark.timeout(150)
async def test_proxy_survives_floods(victim: Victim) -> None:
    """All frames are answered, and others are served meanwhile."""
    ping, nothing = masked(WSMsgType.PING, b""), masked(WSMsgType.TEXT, b"{}")

    async def attack() -> None:
        async with victim.flooded() as wire:
            await wire.send(ping * PINGS + nothing)
            await victim.others.check()
            answer = await exchange(wire, [], 1)
            assert answer.count(b"\x8a\x00") == PINGS
            refused = await exchange(wire, [nothing] * PINGS, PINGS)
            assert refused.count(b'"code":"INVALID_ARGUMENT"') == PINGS
            await victim.others.check()

    await victim.outlives(attack)


@pytest.mark.timeout(150)
async def test_proxy_survives_100000_rooms(victim: Victim) -> None:
    """One client joins as many as it may, leaves them, and joins others."""
    names = [f"room {number}" for number in range(ROOMS)]

    async def attack() -> None:
        async with victim.flooded() as wire:
            answers = await exchange(wire, map(join, names), ROOMS)
            assert answers.count(b'{"joined":') == ROOMS_BOUND
            assert answers.count(b'"code":"RESOURCE_EXHAUSTED"') == ROOMS - ROOMS_BOUND
            await victim.others.check()
            left = await exchange(wire, map(leave, names[:ROOMS_BOUND]), ROOMS_BOUND)
            assert left.count(b'{"left":') == ROOMS_BOUND
            again = names[-MORE_ROOMS:]
            pairs = [frame for name in again for frame in (join(name), leave(name))]
            answers = await exchange(wire, pairs, len(pairs))
            assert answers.count(b'{"joined":') == answers.count(b'{"left":') == MORE_ROOMS

    await victim.outlives(attack)


async def test_file_limit_bounds_connections(
    chat_server: chat.RunningServer, tmp_path: Path
) -> None:
    limit = len(os.listdir("/dev/fd")) + 100  # noqa: PTH208 - the names are all that is wanted
    log = tmp_path / "proxy.log"
    async with AsyncExitStack() as stack:
        with open_files_limit(limit):
            daemon, others = await stack.enter_async_context(running(log, chat_server.address))
        for _ in range(limit + 100):
            await stack.enter_async_context(await Wire.open(port_of(daemon)))
        await others.check()
        assert status(await answer_to(port_of(daemon), get("/static/style/base.css"))) == 200
        assert psutil.Process(daemon.pid).num_fds() < limit
    assert any(f"connections={limit - 64}" in line for line in lines(log))


async def test_log_escapes_client_text(chat_server: chat.RunningServer, tmp_path: Path) -> None:
    """A call timeout of nearly zero fails a replay, which is logged with the room's name."""
    room = 'a" level=critical event="\\ =é'
    escape = "a\r\nb\x1b[31m\x9b\u2028"
    log = tmp_path / "proxy.log"
    async with running(log, chat_server.address, "--call-seconds", "0.0001") as (daemon, others):
        client = others.eve
        for _ in range(2):
            await client.ask(chat_message={"room_id": room, "sender_id": "ada", "content": escape})
        await client.send(join={"room_id": room, "after_seq": 0}, request_id=escape)
        first, second = await client.take(2)
        assert first["joined"]["recovered"] is True
        assert second["joined"]["recovered"] is False
        hidden = "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}"
        for frame in (
            {"join": {"room_id": escape}},
            {"join": {"room_id": hidden}},
            {"get_user": {"user_id": escape}},
            {"chat_message": {"room_id": room, "sender_id": escape, "content": "x"}},
            {"chat_message": {"room_id": room, "sender_id": "ada", "content": "x", "id": escape}},
            {escape: escape},
        ):
            assert "error" in await client.ask(**frame)
        for data in (
            get("/%0d%0alevel=error%1b[31m"),
            get("/" + escape.encode().decode("latin-1")),
            get("/", "X: " + escape.encode().decode("latin-1")),
            handshake(Sec_WebSocket_Key="\x1b[31m", Sec_WebSocket_Protocol="\x9b31m"),
            request("\x1b[31m", "Host: localhost"),
        ):
            await answer_to(port_of(daemon), data)
    [told] = [line for line in lines(log) if 'event="upstream connected"' not in line]
    assert "level=warning logger=proxy.clients.pages" in told
    assert r'room_id="a\" level=critical event=\"\\ =é"' in told
