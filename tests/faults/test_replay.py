"""A server that goes away in the middle of a replay to a client of the proxy."""

import signal
from pathlib import Path

import pytest

from tests.faults.world import World
from tests.proxy.web_client import seqs, visitor

pytestmark = pytest.mark.timeout(120)

# Two pages and some.
MESSAGES = 1200


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_server_restart_pauses_a_replay(tmp_path: Path, ending: signal.Signals) -> None:
    """Regression: the replay was given up; now it resumes."""
    async with World.running(tmp_path) as world, visitor(world.url) as other:
        # It is in the room: the proxy answers those who join.
        for number in range(MESSAGES):
            await other.say("lobby", str(number))
        await other.take(MESSAGES)
        async with visitor(world.url) as client:
            # The server answers nothing more, unnoticed.
            world.chat.send(signal.SIGSTOP)
            await client.send(join={"room_id": "lobby", "after_seq": 0})
            assert (await client.receive())["joined"]["recovered"]
            # The proxy has turned to others, so it waits for a page.
            await other.barrier()
            world.chat.send(ending)
            world.chat.send(signal.SIGCONT)
            assert await world.chat.ended() in (0, -ending)
            await world.chat.start()
            assert seqs(await client.take(MESSAGES)) == list(range(1, MESSAGES + 1))
