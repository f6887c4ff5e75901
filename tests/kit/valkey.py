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
from tests.kit.homes import home
from tests.kit.ports import free_ports
from tests.kit.server import HOST, POLL_SECONDS, Server

PROGRAMS: Final = ("valkey-server", "redis-server")
PACKAGE: Final = "redis-server"
_SLOTS: Final = 16384
_NODES: Final = 3


def find_program() -> str | None:
    """Path of the server, or `None`."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Valkey(Server):
    """One server; see `running`.

    Attributes:
        bus_port: the one for the other servers of a cluster.
    """

    def __init__(self, folder: Path, program: str, options: tuple[str, ...]) -> None:
        port, self.bus_port = free_ports(2)
        super().__init__(folder, port)
        self._program = program
        self._options = options

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
    def url(self) -> str:
        return f"valkey://{self.address}"

    async def stop(self) -> None:
        """Stops it in order."""
        await self._end(signal.SIGTERM)

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
                    await asyncio.sleep(POLL_SECONDS)
        # That was soon, as it is a few of these; from now on none that is slow is taken for dead.
        for server in servers:
            patience = f"{PATIENCE_SECONDS * 1000:.0f}"
            assert "OK" in await server.command("CONFIG", "SET", "cluster-node-timeout", patience)
        yield servers


async def _is_whole(server: Valkey) -> bool:
    info = await server.command("CLUSTER", "INFO")
    return "cluster_state:ok" in info and f"cluster_known_nodes:{_NODES}" in info
