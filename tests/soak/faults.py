"""The faults in the worlds of a soak."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from tests.faults.clients import Participant
from tests.faults.journal import Journal
from tests.faults.link import Link, Way
from tests.faults.shared import Shared, known_synchronous
from tests.faults.world import World
from tests.kit.processes import Daemon
from tests.scraping import scrape_until

# Three times as long as the lease of a node.
_LONG_SECONDS: Final = 30.0
_BUS_SECONDS: Final = 60.0


class Scene(NamedTuple):
    """A place to break something.

    Attributes:
        world: the processes.
        shared: what its servers share, if they are several.
        clients: the connected clients.
        journal: what the clients do and see.
        chance: decides the details.
        longest: the most seconds that a fault lasts.
    """

    world: World
    shared: Shared | None
    clients: Sequence[Participant]
    journal: Journal
    chance: Random
    longest: float

    async def last(self, *seconds: float) -> None:
        """Lets a fault last for one of some times."""
        await asyncio.sleep(min(self.chance.choice(seconds), self.longest))

    @property
    def together(self) -> Shared:
        """What the servers share, where they do."""
        assert self.shared is not None
        return self.shared


Strike = Callable[[Scene], Awaitable[None]]


class Fault(NamedTuple):
    """A fault that is over when `strike` returns."""

    name: str
    strike: Strike


def _daemons(scene: Scene, which: str) -> list[Daemon]:
    server, proxy = (
        [scene.chance.choice(each)] for each in (scene.world.chats, scene.world.proxies)
    )
    return {"server": server, "proxy": proxy, "both": server + proxy}[which]


def _kill(which: str) -> Strike:
    async def strike(scene: Scene) -> None:
        daemons = _daemons(scene, which)
        await asyncio.gather(*(each.kill() for each in daemons))
        await asyncio.gather(*(each.start() for each in daemons))

    return strike


def _restart(which: str) -> Strike:
    async def strike(scene: Scene) -> None:
        for each in _daemons(scene, which):
            await each.stop()
            await each.start()

    return strike


async def _drop_clients(scene: Scene) -> None:
    for client in scene.chance.sample(scene.clients, scene.chance.randrange(1, 4)):
        client.drop()


def _break(how: Callable[[Link, Random], None]) -> Strike:
    """Breaks a link for a while: from unnoticeably short to much longer."""

    async def strike(scene: Scene) -> None:
        link = scene.chance.choice((scene.world.server_link, scene.world.client_link))
        how(link, scene.chance)
        # The longest is much longer than a heartbeat.
        await scene.last(0.1, 1, 12)
        link.restore()

    return strike


async def _sleep_long(scene: Scene) -> None:
    """Stops a node for longer than its lease."""
    node = scene.chance.choice(scene.world.chats)
    node.send(signal.SIGSTOP)
    await scene.last(_LONG_SECONDS)
    node.send(signal.SIGCONT)


async def _kill_engine(scene: Scene) -> None:
    await scene.together.kill_engine()


async def _cut(scene: Scene) -> None:
    await scene.together.cut_connections()


async def _fail_over(scene: Scene) -> None:
    await known_synchronous(scene.world)
    await scene.together.fail_over()
    await scene.last(0, 3)
    await scene.together.rejoin()


async def _fail_over_with_loss(scene: Scene) -> None:
    """Promotes a standby that was cut off from the primary, for which no commit waited."""
    one = scene.together
    assert one.standby is not None
    await one.primary.configure(synchronous_standby_names="")
    for url in scene.world.status_urls:
        await scrape_until(url, lambda told: told("chat_synchronous") == 0)
    await one.primary.caught_up(one.standby)
    await one.standby.configure(primary_conninfo="")
    await scene.journal.confirmed_more(100)
    scene.journal.history.losses += 1
    await one.fail_over()
    await one.rejoin()


async def _stop_standby(scene: Scene) -> None:
    """Leaves commits without a standby for a while: they wait."""
    one = scene.together
    assert one.standby is not None
    await one.standby.pause()
    await scene.last(1, 12)
    await one.standby.resume()


async def _kill_bus(scene: Scene) -> None:
    """Leaves the nodes without hints for a minute."""
    one = scene.together
    assert one.bus is not None
    await one.bus.kill()
    await scene.last(1, _BUS_SECONDS)
    await one.bus.start()


async def _drop_hints(scene: Scene) -> None:
    one = scene.together
    assert one.bus_link is not None
    one.bus_link.drop()
    await scene.last(1, 12)
    one.bus_link.restore()


# For processes that live as long as the run, so that growth can be seen.
GENTLE: Final = (
    Fault("clients dropped", _drop_clients),
    Fault("link silent", _break(lambda link, _: link.drop())),
    Fault(
        "link silent in one direction",
        _break(lambda link, chance: link.halve(chance.choice(list(Way)))),
    ),
    Fault("link lost what was under way", _break(lambda link, _: link.sever())),
    Fault("link reset", _break(lambda link, _: link.cut())),
    Fault("link slow", _break(lambda link, chance: link.delay(chance.uniform(0.01, 0.3)))),
)
ROUGH: Final = (
    *GENTLE,
    Fault("server killed", _kill("server")),
    Fault("proxy killed", _kill("proxy")),
    Fault("both killed", _kill("both")),
    Fault("server stopped and started", _restart("server")),
    Fault("proxy stopped and started", _restart("proxy")),
)
SHARED: Final = (
    *ROUGH,
    Fault("server asleep", _sleep_long),
    Fault("engine killed", _kill_engine),
    Fault("connections to the engine cut", _cut),
    Fault("standby promoted", _fail_over),
    Fault("standby promoted that lacked messages", _fail_over_with_loss),
    Fault("no standby", _stop_standby),
    Fault("no bus", _kill_bus),
    Fault("hints dropped", _drop_hints),
)
