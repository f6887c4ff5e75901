"""A real Valkey on loopback, or its twin Redis, alone or as a small cluster.

Nothing is kept: it is used as a bus. It speaks sharded publish and subscribe from
version 7 on.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.kit import PATIENCE_SECONDS
from tests.kit.homes import home, kill
from tests.kit.ports import free_ports

HOST: Final = "127.0.0.1"
PROGRAMS: Final = ("valkey-server", "redis-server")
PACKAGE: Final = "redis-server"
_SLOTS: Final = 16384
_NODES: Final = 3
_POLL_SECONDS: Final = 0.01


def find_program() -> str | None:
    """Path of the server, or `None`."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Valkey:
    """One server; see `running`. Its methods belong to no event loop.

    Attributes:
        port: its port, which stays the same.
        bus_port: the one for the other servers of a cluster.
    """

    def __init__(self, folder: Path, program: str, options: tuple[str, ...]) -> None:
        self.port, self.bus_port = free_ports(2)
        self._folder = folder
        self._program = program
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, *options: str) -> AsyncIterator[Valkey]:
        """Runs a new server; removes it at the end.

        Args:
            options: those of the command line, such as ``--requirepass``, ``secret``.
        """
        program = find_program()
        assert program is not None, f"Valkey is missing: apt-get install {PACKAGE}"
        with home("valkey") as folder:
            server = cls(folder, program, options)
            try:
                await server.start()
                yield server
            finally:
                if server.runs:
                    await server.kill()

    @property
    def address(self) -> str:
        """Its ``host:port``."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        return f"valkey://{self.address}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started, and not ended."""
        return self._process is not None

    @property
    def log(self) -> str:
        """What it logged, over all starts."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    async def start(self) -> None:
        """Starts it, and waits until it answers."""
        assert self._process is None
        self._process = self._spawn()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._answers():
                assert self._process.poll() is None, self.log
                await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Stops it in order."""
        await self._end(signal.SIGTERM)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """Kills it at once."""
        await asyncio.to_thread(kill, self._folder)
        await self._end(signal.SIGKILL)

    async def pause(self) -> None:
        """Stops it where it is (SIGSTOP)."""
        await asyncio.to_thread(kill, self._folder, signal.SIGSTOP)

    async def resume(self) -> None:
        """Ends a pause."""
        await asyncio.to_thread(kill, self._folder, signal.SIGCONT)

    async def drop_clients(self) -> None:
        """Ends all other connections to it."""
        await self.command("CLIENT", "KILL", "TYPE", "normal")
        await self.command("CLIENT", "KILL", "TYPE", "pubsub")

    async def command(self, *words: str) -> str:
        """Executes one command; returns the answer as it came.

        Raises:
            OSError: it does not answer.
        """
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            writer.write(f"*{len(words)}\r\n{parts}*1\r\n$4\r\nQUIT\r\n".encode())
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await reader.read(-1)
        finally:
            writer.close()
        return answer.decode(errors="replace").removesuffix("+OK\r\n")

    def _spawn(self) -> subprocess.Popen[bytes]:
        clustered = "--cluster-enabled" in self._options
        bus = ("--cluster-port", str(self.bus_port)) if clustered else ()
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - ours
                [
                    self._program, "--bind", HOST, "--port", str(self.port), "--save", "",
                    "--appendonly", "no", "--dir", self._folder, *bus, *self._options,
                ],
                cwd=self._folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    async def _answers(self) -> bool:
        try:
            return (await self.command("PING")).startswith(("+PONG", "-NOAUTH"))
        except OSError:
            return False

    async def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        await asyncio.to_thread(process.wait, PATIENCE_SECONDS)


@asynccontextmanager
async def cluster() -> AsyncIterator[list[Valkey]]:
    """Runs a cluster of three servers without replicas, and yields them once it is ready."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Valkey.running(*options)) for _ in range(_NODES)]
        bounds = pairwise(_SLOTS * number // _NODES for number in range(_NODES + 1))
        for epoch, (server, (first, end)) in enumerate(zip(servers, bounds, strict=True), start=1):
            await server.command("CLUSTER", "SET-CONFIG-EPOCH", str(epoch))
            await server.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
            for other in servers:
                bus = (str(other.port), str(other.bus_port))
                await server.command("CLUSTER", "MEET", HOST, *bus)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for server in servers:
                while not await _is_whole(server):  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(_POLL_SECONDS)
        yield servers


async def _is_whole(server: Valkey) -> bool:
    info = await server.command("CLUSTER", "INFO")
    return "cluster_state:ok" in info and f"cluster_known_nodes:{_NODES}" in info
