"""`kill -9` of the chat server, again and again, under load: a pause for WebSocket clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.history import Outcome, check
from tests.faults.journal import Journal
from tests.faults.storm import TIMES, Crowd, killing, outlive
from tests.faults.world import World, seeded

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("hold_seconds", [20, 0], ids=["held", "refused"])
async def test_nothing_is_lost_or_doubled(tmp_path: Path, hold_seconds: int) -> None:
    with seeded() as chance:
        async with World.running(tmp_path, "--hold-seconds", str(hold_seconds)) as world:
            journal = Journal()
            crowd = Crowd(world.url, journal, chance)
            kills = [killing(world.chat, chance)] * TIMES
            history = await outlive(world, kills, crowd, journal, chance)
        assert check(history) == []
        assert world.chat.starts > TIMES
        assert [each.connections for each in crowd.everyone] == [1] * len(crowd.everyone)
        assert [each.lost for each in crowd.settled] == [0] * len(crowd.settled)
        assert all(send.outcome is not Outcome.UNKNOWN for send in history.sends)
        assert bool(journal.refused) is (hold_seconds == 0)
        assert world.tracebacks == ""
