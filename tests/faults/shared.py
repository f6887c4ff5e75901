"""Two servers and two proxies that share a PostgreSQL, with a standby and a bus of hints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from hosting.addresses import split_address
from tests.faults.link import Link
from tests.faults.storm import Stage
from tests.faults.world import World
from tests.kit.postgres import Postgres
from tests.kit.valkey import Valkey
from tests.scraping import scrape_until

DATABASE: Final = "chat"
# A lost hint costs no more than this.
_SWEEP_SECONDS: Final = "0.5"
# Proxies notice a silent server soon.
_PROXY_OPTIONS: Final = ("--upstream-heartbeat-seconds", "2")


@dataclass
class Shared:
    """What the servers share; see `running`.

    Attributes:
        primary: the PostgreSQL that has the database now.
        standby: the other one.
        link: the way from the standby to the primary, until the first promotion.
        bus: the Valkey that brings the hints, if it is not PostgreSQL itself.
        bus_link: the way of the servers to it.
        url: the address of the database.
        options: of the servers, beside that.
    """

    primary: Postgres
    standby: Postgres | None = None
    link: Link | None = None
    bus: Valkey | None = None
    bus_link: Link | None = None
    url: str = ""
    options: tuple[str, ...] = ()

    @classmethod
    @asynccontextmanager
    async def running(
        cls, *, standby: bool = False, synchronous: bool = True, valkey: bool = False
    ) -> AsyncIterator[Self]:
        """Runs a PostgreSQL, and what belongs to it.

        Args:
            standby: whether it has a standby.
            synchronous: whether commits wait for the standby.
            valkey: whether hints go over a Valkey, to which there is a link.
        """
        async with AsyncExitStack() as stack:
            one = cls(await stack.enter_async_context(Postgres.running()))
            await one.primary.execute(f"CREATE DATABASE {DATABASE}")
            others: tuple[Postgres, ...] = ()
            if standby:
                one.link = await stack.enter_async_context(Link.to(one.primary.address))
                _, port = split_address(one.link.address)
                one.standby = await stack.enter_async_context(one.primary.standby(port=port))
                others = (one.standby,)
                if synchronous:
                    await one.primary.require_standby()
            one.url = one.primary.url(DATABASE, *others)
            one.options = ("--sweep-seconds", _SWEEP_SECONDS)
            if valkey:
                one.bus = await stack.enter_async_context(Valkey.running())
                one.bus_link = await stack.enter_async_context(Link.to(one.bus.address))
                one.options += ("--hints", f"valkey://{one.bus_link.address}")
            yield one

    async def kill_engine(self) -> None:
        """Kills the PostgreSQL, and starts it again."""
        await self.primary.kill()
        await self.primary.start()

    async def fail_over(self) -> None:
        """Kills the primary, and promotes the standby."""
        assert self.standby is not None
        await self.primary.kill()
        await self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    async def rejoin(self) -> None:
        """Makes a standby of what was the primary, for which commits wait."""
        assert self.standby is not None
        await self.standby.join(self.primary)
        await self.primary.require_standby()

    async def heard_of(self, nodes: int) -> None:
        """Waits until so many nodes have sent the primary a heartbeat, from now on."""
        [[now]] = await self.primary.execute("SELECT clock_timestamp()", database=DATABASE)
        await self.primary.until(
            "SELECT count(*) = $1 FROM chat.nodes WHERE alive_until - $2 > interval '10 seconds'",
            nodes,
            now,
            database=DATABASE,
        )

    async def cut_listeners(self) -> None:
        """Ends the connections that hints come on."""
        assert await self.primary.terminate("query ~* '^LISTEN|pg_notify'")

    async def cut_connections(self) -> None:
        """Ends all connections of the servers."""
        assert await self.primary.terminate("datname = $1", DATABASE)

    async def expired(self, number: int = 1) -> None:
        """Waits until that many nodes have lost their lease."""
        await self.primary.until(
            "SELECT count(*) = $1 FROM chat.nodes WHERE alive_until < clock_timestamp()",
            number,
            database=DATABASE,
        )


@asynccontextmanager
async def shared(
    folder: Path,
    *proxy_options: str,
    standby: bool = False,
    synchronous: bool = True,
    valkey: bool = False,
    **options: Any,
) -> AsyncIterator[tuple[Stage, Shared]]:
    """Runs a stage on a PostgreSQL of its own; see `Stage.running` and `Shared.running`."""
    async with (
        Shared.running(standby=standby, synchronous=synchronous, valkey=valkey) as one,
        Stage.running(
            folder,
            *(*_PROXY_OPTIONS, *proxy_options),
            database=one.url,
            chat_options=one.options,
            servers=2,
            proxies=2,
            metrics=True,
            everywhere=True,
            **options,
        ) as stage,
    ):
        if standby and synchronous:
            await known_synchronous(stage.world)
        yield stage, one


async def known_synchronous(world: World) -> None:
    """Waits until each node knows that commits wait for a standby: it says so when it is sure."""
    for url in world.status_urls:
        await scrape_until(url, lambda told: told("chat_synchronous") == 1)
