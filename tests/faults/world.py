"""A chat server and a proxy, each a process of its own, to be killed and started again."""

from __future__ import annotations

import os
import random
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from tests.daemon.processes import ended, ready_line, start

SEED_VARIABLE: Final = "FAULTS_SEED"
# Below what Linux gives to outgoing connections: while a server is away, none of those
# who look for it may be given its port.
_PORTS: Final = range(20_000, 32_000)
# How much of a log is shown with a failure.
_LAST_CHARACTERS: Final = 20_000


class Daemon:
    """One of the two commands, always with the same options.

    Args:
        log: the file that its standard error goes to.
        module: what ``python -m`` runs.
        options: its options.

    Attributes:
        starts: how often it was started.
    """

    def __init__(self, log: Path, module: str, *options: str) -> None:
        self.starts = 0
        self._log = log
        self._module = module
        self._options = options
        self._process: Process | None = None

    @property
    def errors(self) -> str:
        """What it wrote to standard error, over all its lives."""
        return self._log.read_text(errors="replace") if self.starts else ""

    @property
    def pid(self) -> int:
        """The process that it is now."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Starts it, and waits until it is ready."""
        assert self._process is None
        with self._log.open("ab") as errors:
            self._process = await start(self._module, *self._options, errors=errors)
        self.starts += 1
        await ready_line(self._process)

    async def kill(self) -> None:
        """Ends it at once, whatever it is doing, as ``kill -9`` does."""
        assert await self._signal(signal.SIGKILL) == -signal.SIGKILL

    async def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        assert await self._signal(signal.SIGTERM) == 0, self.errors

    async def clean_up(self) -> None:
        """Ends it, if it is there."""
        if self._process is not None:
            await self._signal(signal.SIGKILL)

    async def _signal(self, number: signal.Signals) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        try:
            if process.returncode is None:
                process.send_signal(number)
            status, _, _ = await ended(process)
        finally:
            if process.returncode is None:
                process.kill()
        return status


class World:
    """Both daemons, on fixed ports, and their database.

    Args:
        folder: where the database is.
        proxy_options: options of the proxy, beside its addresses.

    Attributes:
        url: where clients connect.
    """

    def __init__(self, folder: Path, *proxy_options: str) -> None:
        chat_port, proxy_port = _free_ports(2)
        here = ("--host", "127.0.0.1", "--port")
        upstream = ("--upstream", f"127.0.0.1:{chat_port}")
        database = ("--database", str(folder / "chat.db"))
        self.chat = Daemon(folder / "chat.log", "chat", *here, str(chat_port), *database)
        proxying = (str(proxy_port), *upstream, *proxy_options)
        self.proxy = Daemon(folder / "proxy.log", "proxy", *here, *proxying)
        self.url = f"http://127.0.0.1:{proxy_port}/"

    @property
    def tracebacks(self) -> str:
        """What the daemons logged, if there is a traceback in it."""
        errors = self.chat.errors + self.proxy.errors
        return errors if "Traceback" in errors else ""

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, *proxy_options: str) -> AsyncIterator[World]:
        """A world in which both run; at the end neither does."""
        world = cls(folder, *proxy_options)
        try:
            await world.chat.start()
            await world.proxy.start()
            yield world
        except BaseException as error:
            await world.clean_up()
            for name, daemon in (("chat", world.chat), ("proxy", world.proxy)):
                error.add_note(f"{name}:\n{daemon.errors[-_LAST_CHARACTERS:]}")
            raise
        finally:
            await world.clean_up()

    async def clean_up(self) -> None:
        """Ends both, if they are there."""
        try:
            await self.proxy.clean_up()
        finally:
            await self.chat.clean_up()


@contextmanager
def seeded() -> Iterator[random.Random]:
    """Chance that can be had again: a failure tells the seed.

    The seed decides what is broken when; what the processes are doing then is still up
    to them.
    """
    seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(2**32))
    try:
        yield random.Random(seed)  # noqa: S311 - no secret
    except BaseException as error:
        error.add_note(f"to choose the same again: {SEED_VARIABLE}={seed}")
        raise


def _free_ports(number: int) -> list[int]:
    """Finds ports that nobody listens on."""
    free: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not _bound(probe, port):
                continue
        free.append(port)
        if len(free) == number:
            return free
    raise AssertionError("no port is free")


def _bound(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
