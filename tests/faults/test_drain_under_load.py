"""Repeated SIGTERM to either daemon under load: an orderly stop, within its time."""

import asyncio
import signal
from pathlib import Path
from typing import Final

import pytest
from grpclib import Status
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated

import codec
from gen.chat import ChatStream
from hosting.addresses import split_address
from tests.faults.history import Outcome
from tests.faults.storm import ROOMS, Fault, Stage, stored
from tests.faults.world import World
from tests.kit.http2 import Http2Client, payloads, prefixed
from tests.kit.processes import Daemon
from tests.support import message

# Many processes start here, one after the other: a busy machine is no failure.
pytestmark = pytest.mark.timeout(240)

_ROUNDS: Final = 3
_TURNS: Final = 2  # of each proxy
# While one proxy starts, the load of the other one must not take the whole machine.
_PAUSE_SECONDS: Final = 0.02
_DRAIN_SECONDS: Final = 5
# As in docs/options.md.
_PAST_DRAIN_SECONDS: Final = 5
_OPTIONS: Final = ("--drain-seconds", str(_DRAIN_SECONDS))


async def stop(daemon: Daemon) -> None:
    """Stops a daemon, which must end well and in time."""
    async with asyncio.timeout(_DRAIN_SECONDS + _PAST_DRAIN_SECONDS):
        await daemon.stop()


async def test_server_drain_is_a_pause(tmp_path: Path) -> None:
    async with Stage.running(
        tmp_path, chat_options=_OPTIONS, pause_seconds=_PAUSE_SECONDS
    ) as stage:
        world = stage.world

        async def stop_and_start() -> None:
            await stop(world.chat)
            await world.chat.start()

        await stage.storm([stop_and_start] * _ROUNDS)
        await world.stop()
        stage.check(cut_off=False)
        stage.check_complete()
        assert all(send.outcome is Outcome.CONFIRMED for send in stage.history.sends)
        assert world.tracebacks == ""


async def test_proxy_drain_answers_before_1001(tmp_path: Path) -> None:
    async with Stage.running(tmp_path, *_OPTIONS, proxies=2, pause_seconds=_PAUSE_SECONDS) as stage:
        world, everyone = stage.world, stage.crowd.everyone

        async def stop_and_start() -> None:
            await stop(world.proxy)
            await stage.journal.until(lambda: not any(each.connected for each in everyone))
            sends = stage.history.sends
            confirmed = {send.key for send in sends if send.outcome is Outcome.CONFIRMED}
            assert {each.key for each in await stored(world.urls[1])} == confirmed
            await world.proxy.start()

        await stage.storm([stop_and_start] * _ROUNDS)
        await world.stop()
        stage.check(cut_off=True)
        stage.check_complete()
        assert [each.closes for each in everyone] == [[1001] * _ROUNDS] * len(everyone)
        assert world.tracebacks == ""


async def test_rolling_proxy_restart_loses_nothing(tmp_path: Path) -> None:
    async with Stage.running(
        tmp_path, *_OPTIONS, proxies=2, everywhere=True, pause_seconds=_PAUSE_SECONDS
    ) as stage:
        world = stage.world

        def restart(door: Daemon) -> Fault:
            async def stop_and_start() -> None:
                await stop(door)
                # By chance, its clients have settled before it starts again.
                if stage.chance.random() < 0.5:
                    await stored(world.urls[1 - world.proxies.index(door)])
                await door.start()

            return stop_and_start

        await stage.storm(map(restart, world.proxies * _TURNS))
        await world.stop()
        stage.check(cut_off=True)
        stage.check_complete()
        # Half of them begin at each proxy, and are sent to the other one in each turn.
        assert all(each.closes == [1001] * len(each.closes) for each in stage.crowd.everyone)
        assert all(each.connections > _TURNS for each in stage.crowd.everyone)
        assert world.tracebacks == ""


async def test_grpc_client_gets_answers_and_goaway(tmp_path: Path) -> None:
    async with World.running(tmp_path, chat_options=_OPTIONS) as world:
        async with Http2Client.connect(*split_address(world.chat_address)) as client:
            client.accept_everything()
            sends = (message(ROOMS[0], key=str(number)) for number in range(1000))
            data = b"".join(prefixed(codec.encode(ChatStream(chat_message=m))) for m in sends)
            stream = client.request("/chat.ChatService/Chat", data)
            heard = await client.data(stream)
            world.chat.send(signal.SIGTERM)
            rest, headers = await client.answer(stream)
            goodbye = await client.event()
            while not isinstance(goodbye, ConnectionTerminated):
                assert goodbye is not None, "closed without a word"
                goodbye = await client.event()
        assert headers["grpc-status"] == str(Status.UNAVAILABLE.value)
        assert goodbye.error_code == ErrorCodes.NO_ERROR
        assert await world.chat.ended() == 0
        await world.chat.start()
        answers = [codec.decode(ChatStream, each).chat_message for each in payloads(heard + rest)]
        # Stored is answered, and answered is stored.
        kept = await stored(world.url)
        assert [(each.seq, each.id) for each in kept] == [(a.seq, a.id) for a in answers]
