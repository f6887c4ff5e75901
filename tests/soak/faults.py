"""What is broken in the worlds of a soak."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from tests.faults.clients import Participant
from tests.faults.link import Link, Way
from tests.faults.world import World


class Scene(NamedTuple):
    """Where something is broken.

    Attributes:
        world: the processes.
        clients: who is connected to them.
        chance: how it is broken.
    """

    world: World
    clients: Sequence[Participant]
    chance: Random


class Fault(NamedTuple):
    """Something that breaks, and is whole again when `strike` returns."""

    name: str
    strike: Callable[[Scene], Awaitable[None]]


async def _kill_the_server(scene: Scene) -> None:
    await scene.world.chat.kill()
    await scene.world.chat.start()


async def _kill_the_proxy(scene: Scene) -> None:
    await scene.world.proxy.kill()
    await scene.world.proxy.start()


async def _kill_both(scene: Scene) -> None:
    world = scene.world
    await asyncio.gather(world.chat.kill(), world.proxy.kill())
    await asyncio.gather(world.chat.start(), world.proxy.start())


async def _restart_the_server(scene: Scene) -> None:
    await scene.world.chat.stop()
    await scene.world.chat.start()


async def _restart_the_proxy(scene: Scene) -> None:
    await scene.world.proxy.stop()
    await scene.world.proxy.start()


async def _drop_clients(scene: Scene) -> None:
    for client in scene.chance.sample(scene.clients, scene.chance.randrange(1, 4)):
        client.drop()


def _link(scene: Scene) -> Link:
    return scene.chance.choice((scene.world.server_link, scene.world.client_link))


async def _for_a_while(scene: Scene, link: Link) -> None:
    # From too short to be noticed to much longer than a heartbeat.
    await asyncio.sleep(scene.chance.choice((0.1, 1, 12)))
    link.restore()


async def _silence(scene: Scene) -> None:
    link = _link(scene)
    link.drop()
    await _for_a_while(scene, link)


async def _silence_one_way(scene: Scene) -> None:
    link = _link(scene)
    link.halve(scene.chance.choice(list(Way)))
    await _for_a_while(scene, link)


async def _lose_what_is_under_way(scene: Scene) -> None:
    link = _link(scene)
    link.sever()
    await _for_a_while(scene, link)


async def _reset_connections(scene: Scene) -> None:
    link = _link(scene)
    link.cut()
    await _for_a_while(scene, link)


async def _slow_link(scene: Scene) -> None:
    link = _link(scene)
    link.delay(scene.chance.uniform(0.01, 0.3))
    await _for_a_while(scene, link)


# To processes that live as long as the run, so that what they keep can be seen.
GENTLE: Final = (
    Fault("clients dropped", _drop_clients),
    Fault("link silent", _silence),
    Fault("link silent in one direction", _silence_one_way),
    Fault("link lost what was under way", _lose_what_is_under_way),
    Fault("link reset", _reset_connections),
    Fault("link slow", _slow_link),
)
ROUGH: Final = (
    *GENTLE,
    Fault("server killed", _kill_the_server),
    Fault("proxy killed", _kill_the_proxy),
    Fault("both killed", _kill_both),
    Fault("server stopped and started", _restart_the_server),
    Fault("proxy stopped and started", _restart_the_proxy),
)
