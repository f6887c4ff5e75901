"""Links that break without being closed, under load: noticed, and nothing lost or doubled.

What is to be noticed has a short heartbeat. By default it is the same, later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Final

import pytest
from grpclib.client import Channel

import codec
from gen.chat import ChatServiceStub, GetUserRequest, UserStatus
from proxy.config import split_address
from tests.faults.history import Outcome, check
from tests.faults.journal import Journal
from tests.faults.link import Link, Way
from tests.faults.storm import Crowd, Fault, outlive, visitor
from tests.faults.world import World, seeded
from tests.support import eventually

# Many processes start here, one after the other: a busy machine is no failure.
pytestmark = pytest.mark.timeout(240)

# Long enough for an answer on a busy machine: within half of it.
_HEARTBEAT: Final = "0.8"
_CHAT_OPTIONS: Final = ("--heartbeat-seconds", _HEARTBEAT)
# Who must not be dropped has the time that it has by default.
_OF_THE_SERVER: Final = ("--upstream-heartbeat-seconds", _HEARTBEAT)
_OF_CLIENTS: Final = ("--heartbeat-seconds", _HEARTBEAT)
Wait = Callable[[], Awaitable[None]]


def silences(link: Link, chance: Random, noticed: Wait) -> list[Fault]:
    """Each way in which a link falls silent, in any order; one is over at once.

    Args:
        link: the link.
        chance: decides on the order.
        noticed: waits until somebody has found out.
    """
    breaks = [
        link.drop,
        lambda: link.halve(Way.THERE),
        lambda: link.halve(Way.BACK),
        link.sever,
        link.strand,
    ]
    chance.shuffle(breaks)
    short = chance.choice(breaks)

    def fault(silence: Callable[[], None], until: Wait | None) -> Fault:
        async def break_and_restore() -> None:
            silence()
            if until is not None:
                await until()
            link.restore()

        return break_and_restore

    return [fault(short, None), *(fault(each, noticed) for each in breaks)]


def slowness(link: Link, journal: Journal) -> Fault:
    """A link takes its time."""

    async def delay() -> None:
        link.delay(0.05)
        await journal.confirmed_more(50)
        link.restore()

    return delay


async def test_a_silent_server_link_is_a_pause(tmp_path: Path) -> None:
    with seeded() as chance:
        async with World.running(
            tmp_path, *_OF_THE_SERVER, chat_options=_CHAT_OPTIONS, server_link=True
        ) as world:
            journal, link = Journal(), world.server_link
            crowd = Crowd(world.url, journal, chance)

            async def noticed() -> None:
                before = link.accepted
                await eventually(lambda: link.accepted > before)

            faults = [*silences(link, chance, noticed), slowness(link, journal)]
            history = await outlive(world, faults, crowd, journal, chance)
        assert check(history) == []
        assert [each.connections for each in crowd.everyone] == [1] * len(crowd.everyone)
        assert [each.lost for each in crowd.settled] == [0] * len(crowd.settled)
        assert all(send.outcome is not Outcome.UNKNOWN for send in history.sends)
        assert world.tracebacks == ""


async def test_silent_clients_are_inactive_and_come_back(tmp_path: Path) -> None:
    with seeded() as chance:
        async with World.running(
            tmp_path, *_OF_CLIENTS, chat_options=_CHAT_OPTIONS, client_link=True
        ) as world:
            journal, link = Journal(), world.client_link
            crowd = Crowd(world.url, journal, chance)

            async def noticed() -> None:
                for each in crowd.talkers:
                    await _inactive(world, each.name)

            faults = [*silences(link, chance, noticed), slowness(link, journal)]
            history = await outlive(world, faults, crowd, journal, chance)
        assert check(history) == []
        assert all(each.connections > 1 for each in crowd.everyone)
        assert [each.lost for each in crowd.settled] == [0] * len(crowd.settled)
        assert world.tracebacks == ""


async def _inactive(world: World, user_id: str) -> None:
    """Waits until a user is so for WebSocket clients and for those of gRPC."""
    host, port = split_address(world.chat_address)
    async with (
        visitor(world.doors[0]) as client,
        Channel(host, port, codec=codec.GrpcCodec()) as channel,
    ):

        async def through_the_proxy() -> bool:
            answer = await client.ask(get_user={"user_id": user_id})
            status: str = answer["user"]["user"]["status"]
            return status == "INACTIVE"

        await eventually(through_the_proxy)
        user = (await ChatServiceStub(channel).get_user(GetUserRequest(user_id))).user
        assert user.status == UserStatus.INACTIVE
