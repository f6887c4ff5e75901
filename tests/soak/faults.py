"""The faults in the worlds of a soak."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from tests.faults.clients import Participant
from tests.faults.link import Link, Way
from tests.faults.world import World
from tests.kit.processes import Daemon


class Scene(NamedTuple):
    """A place to break something.

    Attributes:
        world: the processes.
        clients: the connected clients.
        chance: decides the details.
    """

    world: World
    clients: Sequence[Participant]
    chance: Random


Strike = Callable[[Scene], Awaitable[None]]


class Fault(NamedTuple):
    """A fault that is over when `strike` returns."""

    name: str
    strike: Strike


def _daemons(scene: Scene, which: str) -> list[Daemon]:
    server, proxy = [scene.world.chat], [scene.world.proxy]
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
        await asyncio.sleep(scene.chance.choice((0.1, 1, 12)))
        link.restore()

    return strike


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
