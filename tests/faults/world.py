"""A chat server and proxies, each a process of its own, to be stopped and started again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from tests.faults.link import Link
from tests.hosting.processes import ended, ready_line, start
from tests.ports import free_ports

SEED_VARIABLE: Final = "FAULTS_SEED"
# How much of a log is shown with a failure.
_LAST_CHARACTERS: Final = 20_000

# What the clients do is more than people do.
_ANY_RATE: Final = (
    *("--sends-per-second", "0", "--joins-per-second", "0", "--calls-per-second", "0"),
)
# For a proxy whose clients ask as fast as they can, all from one address.
UNLIMITED: Final = (
    *_ANY_RATE,
    *("--handshakes-per-second", "0", "--connections-per-address", "0"),
    *("--history-per-second", "0", "--clients-per-address", "0"),
)


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
    def story(self) -> str:
        """The end of what it wrote, for a person."""
        return f"{self._module}:\n{self.errors[-_LAST_CHARACTERS:]}"

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

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, and waits for nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Waits until it has ended; returns its status, which is negative for a signal."""
        return await self._signal(None)

    async def clean_up(self) -> None:
        """Ends it, if it is there."""
        if self._process is not None:
            await self._signal(signal.SIGKILL)

    async def _signal(self, number: signal.Signals | None) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        try:
            if process.returncode is None and number is not None:
                process.send_signal(number)
            status, _, _ = await ended(process)
        finally:
            if process.returncode is None:
                process.kill()
        return status


class World:
    """The daemons, on fixed ports, their database, and links that can be broken.

    Args:
        folder: see `running`, as for the others.

    Attributes:
        chat: the chat server.
        proxies: the proxies, once `running` has made them.
        chat_address: ``host:port`` of the server, past the link.
        doors: where the proxies listen, past the link.
        urls: where clients connect.
    """

    def __init__(
        self,
        folder: Path,
        *proxy_options: str,
        chat_module: str = "chat",
        chat_options: Sequence[str] = (),
        proxies: int = 1,
    ) -> None:
        chat_port, *ports = free_ports(1 + proxies)
        database = ("--database", str(folder / "chat.db"))
        self.chat = Daemon(
            folder / "chat.log", chat_module, *_at(chat_port), *database, *_ANY_RATE, *chat_options
        )
        self.chat_address = f"127.0.0.1:{chat_port}"
        self.doors = [f"http://127.0.0.1:{port}/" for port in ports]
        self.urls = list(self.doors)
        self.proxies: list[Daemon] = []
        self._folder = folder
        self._ports = ports
        self._proxy_options = proxy_options
        self._links: dict[str, Link] = {}

    @property
    def proxy(self) -> Daemon:
        """The first proxy."""
        return self.proxies[0]

    @property
    def url(self) -> str:
        """Where clients of the first proxy connect."""
        return self.urls[0]

    @property
    def server_link(self) -> Link:
        """The link between the proxies and the server."""
        return self._links["server"]

    @property
    def client_link(self) -> Link:
        """The link between the clients and the first proxy."""
        return self._links["client"]

    @property
    def tracebacks(self) -> str:
        """What the daemons logged, if there is a traceback in it."""
        errors = "".join(each.errors for each in (self.chat, *self.proxies))
        return errors if "Traceback" in errors else ""

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        folder: Path,
        *proxy_options: str,
        chat_module: str = "chat",
        chat_options: Sequence[str] = (),
        proxies: int = 1,
        server_link: bool = False,
        client_link: bool = False,
    ) -> AsyncIterator[World]:
        """A world in which all run; at the end none does.

        Args:
            folder: where the database is.
            proxy_options: options of the proxies, beside their addresses.
            chat_module: what runs as the server.
            chat_options: options of the server, beside its address and its database.
            proxies: how many proxies there are.
            server_link: whether the proxies reach the server over a link.
            client_link: whether clients reach the first proxy over a link.
        """
        world = cls(
            folder,
            *proxy_options,
            chat_module=chat_module,
            chat_options=chat_options,
            proxies=proxies,
        )
        async with AsyncExitStack() as stack:
            try:
                await world._start(stack, server_link=server_link, client_link=client_link)
                yield world
            except BaseException as error:
                await world.clean_up()
                error.add_note("\n".join(each.story for each in (world.chat, *world.proxies)))
                raise
            finally:
                await world.clean_up()

    async def _start(self, stack: AsyncExitStack, *, server_link: bool, client_link: bool) -> None:
        upstream = self.chat_address
        if server_link:
            link = self._links["server"] = await stack.enter_async_context(Link.to(upstream))
            upstream = link.address
        options = ("--upstream", upstream, *UNLIMITED, *self._proxy_options)
        self.proxies = [
            Daemon(self._folder / f"proxy {number}.log", "proxy", *_at(port), *options)
            for number, port in enumerate(self._ports, start=1)
        ]
        if client_link:
            near = f"127.0.0.1:{self._ports[0]}"
            link = self._links["client"] = await stack.enter_async_context(Link.to(near))
            self.urls[0] = f"http://{link.address}/"
        await asyncio.gather(*(each.start() for each in (self.chat, *self.proxies)))

    async def stop(self) -> None:
        """Stops all in order: the proxies first."""
        for each in (*self.proxies, self.chat):
            await each.stop()

    async def clean_up(self) -> None:
        """Ends all, if they are there."""
        for each in (*self.proxies, self.chat):
            await each.clean_up()


def _at(port: int) -> tuple[str, ...]:
    return "--host", "127.0.0.1", "--port", str(port)


def choose_seed() -> str:
    """Chooses the seed of this run, for all its processes, unless it was given; tells it."""
    if not os.environ.get(SEED_VARIABLE):
        os.environ[SEED_VARIABLE] = str(random.SystemRandom().randrange(2**32))
    return f"{SEED_VARIABLE}={os.environ[SEED_VARIABLE]}"


@contextmanager
def seeded() -> Iterator[random.Random]:
    """Chance that can be had again: a failure tells the seed.

    The seed decides what is broken when; what the processes are doing then is still up
    to them.
    """
    told = choose_seed()
    seed = int(os.environ[SEED_VARIABLE])
    # A test that takes too long ends with its process, and tells no more than this.
    sys.stdout.write(f"{told}\n")
    try:
        yield random.Random(seed)  # noqa: S311 - no secret
    except BaseException as error:
        error.add_note(f"to choose the same again: {told}")
        raise


def branch(chance: random.Random) -> random.Random:
    """Chance for one task alone.

    Tasks that draw from the same one take turns as the machine will, and the seed then
    tells nothing. To be called before the tasks start.
    """
    return random.Random(chance.getrandbits(64))  # noqa: S311 - no secret
