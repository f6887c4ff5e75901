"""What is broken in the worlds of a soak."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, NamedTuple

from tests.faults.clients import Participant
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


# To processes that live as long as the run, so that what they keep can be seen.
GENTLE: Final = (Fault("clients dropped", _drop_clients),)
ROUGH: Final = (
    *GENTLE,
    Fault("server killed", _kill_the_server),
    Fault("proxy killed", _kill_the_proxy),
    Fault("both killed", _kill_both),
    Fault("server stopped and started", _restart_the_server),
    Fault("proxy stopped and started", _restart_the_proxy),
)
