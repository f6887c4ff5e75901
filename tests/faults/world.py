"""Chat servers and proxies as processes that can be stopped and started again."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Final

from chat.config import UserRates
from hosting.settings import settings_of
from proxy.config import ClientRates
from tests.faults.link import Link
from tests.kit.ports import free_ports
from tests.kit.processes import Daemon

SEED_VARIABLE: Final = "FAULTS_SEED"

# The clients do more than people do.
_ANY_RATE: Final = tuple(f"--{each.name}=0" for each in settings_of(UserRates))
# For a proxy whose clients ask as fast as they can, all from one address.
UNLIMITED: Final = (
    *(f"--{each.name}=0" for each in settings_of(ClientRates)),
    *("--handshakes-per-second=0", "--connections-per-address=0", "--clients-per-address=0"),
)


class World:
    """The daemons on fixed ports, their database, and links that can be broken.

    Args:
        folder: see `running`, as for the others.

    Attributes:
        chats: the chat servers.
        proxies: the proxies, once `running` has made them.
        chat_addresses: ``host:port`` of each server, past the link.
        status_urls: where the servers show their metrics, if they do.
        doors: addresses of the proxies, past the link.
        urls: addresses for clients.
    """

    def __init__(
        self,
        folder: Path,
        *proxy_options: str,
        chat_module: str | Sequence[str] = "chat",
        chat_options: Sequence[str] = (),
        database: str = "",
        servers: int = 1,
        proxies: int = 1,
        metrics: bool = False,
    ) -> None:
        modules = cycle([chat_module] if isinstance(chat_module, str) else chat_module)
        ports = free_ports(2 * servers + proxies)
        status_ports, ports = ports[:servers], ports[servers:]
        database = database or str(folder / "chat.db")
        options = ("--database", database, *_ANY_RATE, *chat_options)
        self.chats = [
            Daemon(
                folder / f"chat {number}.log",
                next(modules),
                *(*_at(port), "--metrics-port", str(status_port) if metrics else "off"),
                *options,
            )
            for number, (port, status_port) in enumerate(
                zip(ports[:servers], status_ports, strict=True), start=1
            )
        ]
        self.status_urls = [f"http://127.0.0.1:{port}/" for port in status_ports]
        self.chat_addresses = [f"127.0.0.1:{port}" for port in ports[:servers]]
        self.doors = [f"http://127.0.0.1:{port}/" for port in ports[servers:]]
        self.urls = list(self.doors)
        self.proxies: list[Daemon] = []
        self._folder = folder
        self._ports = ports[servers:]
        self._proxy_options = proxy_options
        self._links: dict[str, Link] = {}

    @property
    def chat(self) -> Daemon:
        """The first server."""
        return self.chats[0]

    @property
    def chat_address(self) -> str:
        """``host:port`` of the first server, past the link."""
        return self.chat_addresses[0]

    @property
    def proxy(self) -> Daemon:
        """The first proxy."""
        return self.proxies[0]

    @property
    def daemons(self) -> list[Daemon]:
        """All of them, in the order in which they are to stop."""
        return [*self.proxies, *self.chats]

    @property
    def url(self) -> str:
        """Address for clients of the first proxy."""
        return self.urls[0]

    @property
    def server_link(self) -> Link:
        """The link between the proxies and the first server."""
        return self._links["server"]

    @property
    def client_link(self) -> Link:
        """The link between the clients and the first proxy."""
        return self._links["client"]

    @property
    def tracebacks(self) -> str:
        """The daemons' log lines that hold a traceback."""
        errors = "".join(each.errors for each in self.daemons)
        return errors if "Traceback" in errors else ""

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        folder: Path,
        *proxy_options: str,
        chat_module: str | Sequence[str] = "chat",
        chat_options: Sequence[str] = (),
        database: str = "",
        servers: int = 1,
        proxies: int = 1,
        metrics: bool = False,
        apart: bool = False,
        server_link: bool = False,
        client_link: bool = False,
    ) -> AsyncIterator[World]:
        """Runs a world.

        Args:
            folder: the folder of the database and the logs.
            proxy_options: options of the proxies, beside their addresses.
            chat_module: module that runs as the server, or those of several in turn.
            chat_options: options of the servers, beside their addresses and the database.
            database: the database, if it is not a file in the folder.
            servers: number of servers. Several need a database for several.
            proxies: number of proxies.
            metrics: whether the servers show their metrics.
            apart: whether each proxy knows one server only, in turn, instead of all.
            server_link: whether the proxies reach the first server over a link.
            client_link: whether clients reach the first proxy over a link.
        """
        world = cls(
            folder,
            *proxy_options,
            chat_module=chat_module,
            chat_options=chat_options,
            database=database,
            servers=servers,
            proxies=proxies,
            metrics=metrics,
        )
        async with AsyncExitStack() as stack:
            try:
                await world._start(stack, apart, server_link, client_link)
                yield world
            except BaseException as error:
                await world.clean_up()
                error.add_note("\n".join(each.story for each in world.daemons))
                raise
            finally:
                await world.clean_up()

    async def _start(
        self,
        stack: AsyncExitStack,
        apart: bool,
        server_link: bool,
        client_link: bool,
    ) -> None:
        upstreams = list(self.chat_addresses)
        if server_link:
            link = self._links["server"] = await stack.enter_async_context(Link.to(upstreams[0]))
            upstreams[0] = link.address
        known = cycle(upstreams if apart else [",".join(upstreams)])
        options = (*UNLIMITED, *self._proxy_options)
        self.proxies = [
            Daemon(
                self._folder / f"proxy {number}.log",
                "proxy",
                *_at(port),
                *("--upstream", next(known)),
                *options,
            )
            for number, port in enumerate(self._ports, start=1)
        ]
        if client_link:
            near = f"127.0.0.1:{self._ports[0]}"
            link = self._links["client"] = await stack.enter_async_context(Link.to(near))
            self.urls[0] = f"http://{link.address}/"
        async with asyncio.TaskGroup() as group:
            for each in self.daemons:
                group.create_task(each.start())

    async def stop(self) -> None:
        """Stops all in order: the proxies first."""
        for each in self.daemons:
            await each.stop()

    async def clean_up(self) -> None:
        """Kills all that still run."""
        for each in self.daemons:
            await each.clean_up()


def _at(port: int) -> tuple[str, ...]:
    return "--host", "127.0.0.1", "--port", str(port)


def choose_seed() -> str:
    """Sets and prints the seed of this run for all its processes, unless it was given."""
    if not os.environ.get(SEED_VARIABLE):
        os.environ[SEED_VARIABLE] = str(random.SystemRandom().randrange(2**32))
    return f"{SEED_VARIABLE}={os.environ[SEED_VARIABLE]}"


@contextmanager
def seeded() -> Iterator[random.Random]:
    """Reproducible randomness: a failure prints the seed.

    The seed decides which faults happen when; the timing of the processes stays their own.
    """
    told = choose_seed()
    seed = int(os.environ[SEED_VARIABLE])
    # A test that times out ends with its process, and prints no more than this.
    sys.stdout.write(f"{told}\n")
    try:
        yield random.Random(seed)  # noqa: S311 - no secret
    except BaseException as error:
        error.add_note(f"to choose the same again: {told}")
        raise


def branch(chance: random.Random) -> random.Random:
    """Randomness for one task alone.

    Tasks that share one draw in a timing-dependent order, and the seed would mean
    nothing. To be called before the tasks start.
    """
    return random.Random(chance.getrandbits(64))  # noqa: S311 - no secret
