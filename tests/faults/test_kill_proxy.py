"""`kill -9` of the proxy, again and again, under load: clients come back where they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.history import check
from tests.faults.journal import Journal
from tests.faults.storm import TIMES, Crowd, heads, killing, outlive
from tests.faults.world import World, seeded

pytestmark = pytest.mark.timeout(240)


async def test_who_comes_back_misses_nothing_and_gets_nothing_twice(tmp_path: Path) -> None:
    with seeded() as chance:
        async with World.running(tmp_path) as world:
            journal = Journal()
            crowd = Crowd(world.url, journal, chance)
            kills = [killing(world.proxy, chance)] * TIMES
            history = await outlive(world, kills, crowd, journal, chance)
        assert check(history) == []
        assert all(each.connections > TIMES for each in crowd.everyone)
        assert world.tracebacks == ""
        last = heads(history.stored)
        for each in crowd.settled:
            assert each.lost == 0
            for room in each.places:
                assert history.got(each.name, room) == list(range(1, last[room] + 1))
