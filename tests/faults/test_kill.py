"""`kill -9` of either daemon, again and again, under load."""

from pathlib import Path

import pytest

from tests.faults.history import Outcome
from tests.faults.storm import TIMES, Stage

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("hold_seconds", [20, 0], ids=["held", "refused"])
async def test_killed_server_loses_or_repeats_nothing(tmp_path: Path, hold_seconds: int) -> None:
    """For WebSocket clients a killed server is a pause."""
    async with Stage.running(tmp_path, "--hold-seconds", str(hold_seconds)) as stage:
        await stage.outlive([stage.killing(stage.world.chat)] * TIMES)
        stage.check(cut_off=False)
        assert stage.world.chat.starts > TIMES
        assert all(send.outcome is not Outcome.UNKNOWN for send in stage.history.sends)
        assert bool(stage.journal.refused) is (hold_seconds == 0)
        assert stage.world.tracebacks == ""


async def test_killed_proxy_loses_or_repeats_nothing(
    tmp_path: Path,
) -> None:
    async with Stage.running(tmp_path) as stage:
        await stage.outlive([stage.killing(stage.world.proxy)] * TIMES)
        stage.check(cut_off=True)
        stage.check_complete()
        assert all(each.connections > TIMES for each in stage.crowd.everyone)
        assert stage.world.tracebacks == ""
