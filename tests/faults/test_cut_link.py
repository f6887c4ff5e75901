"""Links that break without being closed, under load: noticed, and nothing lost or doubled.

Heartbeats are short here; by default the same happens later.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from grpclib.client import Channel

import codec
from gen.chat import ChatServiceStub, GetUserRequest, UserStatus
from hosting.addresses import split_address
from tests.faults.history import Outcome
from tests.faults.link import Link, Way
from tests.faults.storm import Fault, Stage
from tests.faults.world import World
from tests.proxy.web_client import visitor
from tests.support import eventually

# Many processes start here, one after the other: a busy machine is no failure.
pytestmark = pytest.mark.timeout(240)

# Long enough for an answer on a busy machine: within half of it.
_HEARTBEAT: Final = "0.8"
_CHAT_OPTIONS: Final = ("--heartbeat-seconds", _HEARTBEAT)
# Peers that must not be dropped have the default time.
_OF_THE_SERVER: Final = ("--upstream-heartbeat-seconds", _HEARTBEAT)
_OF_CLIENTS: Final = ("--heartbeat-seconds", _HEARTBEAT)
Wait = Callable[[], Awaitable[None]]


def breaks(stage: Stage, link: Link, noticed: Wait) -> list[Fault]:
    """Silences the link in each way, in random order, and slows it down.

    Args:
        stage: the world.
        link: the link.
        noticed: waits until the silence is noticed.
    """
    silences = [
        link.drop,
        lambda: link.halve(Way.THERE),
        lambda: link.halve(Way.BACK),
        link.sever,
        link.strand,
    ]
    stage.chance.shuffle(silences)
    short = stage.chance.choice(silences)

    def fault(silence: Callable[[], None], until: Wait | None) -> Fault:
        async def break_and_restore() -> None:
            silence()
            if until is not None:
                await until()
            link.restore()

        return break_and_restore

    async def slow() -> None:
        await stage.journal.confirmed_more(50)

    return [
        fault(short, None),
        *(fault(each, noticed) for each in silences),
        fault(lambda: link.delay(0.05), slow),
    ]


async def test_silent_server_link_is_a_pause(tmp_path: Path) -> None:
    async with Stage.running(
        tmp_path, *_OF_THE_SERVER, chat_options=_CHAT_OPTIONS, server_link=True
    ) as stage:
        link = stage.world.server_link

        async def noticed() -> None:
            before = link.accepted
            await eventually(lambda: link.accepted > before)

        await stage.outlive(breaks(stage, link, noticed))
        stage.check(cut_off=False)
        assert all(send.outcome is not Outcome.UNKNOWN for send in stage.history.sends)
        assert stage.world.tracebacks == ""


async def test_silent_clients_resume(tmp_path: Path) -> None:
    async with Stage.running(
        tmp_path, *_OF_CLIENTS, chat_options=_CHAT_OPTIONS, client_link=True
    ) as stage:

        async def noticed() -> None:
            for each in stage.crowd.talkers:
                await _inactive(stage.world, each.name)

        await stage.outlive(breaks(stage, stage.world.client_link, noticed))
        stage.check(cut_off=True)
        assert stage.world.tracebacks == ""


async def _inactive(world: World, user_id: str) -> None:
    """Waits until a user is inactive for WebSocket and gRPC clients."""
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
