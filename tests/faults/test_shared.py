"""Nodes that share a PostgreSQL, under load: whatever dies or is silent is a pause.

For clients, that is: nothing confirmed is lost, nothing comes twice, all see one order, and
their connections stay open. Where messages are lost, their members are told.
"""

import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from hosting.health import Unhealthy
from hosting.health import check as check_health
from tests.faults.history import Outcome
from tests.faults.history import check as check_history
from tests.faults.shared import DATABASE, Shared, known_synchronous, shared
from tests.faults.storm import Stage
from tests.scraping import scrape_until
from tests.support import PATIENCE_SECONDS, eventually

# Many processes start here, one after the other: a busy machine is no failure.
pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("postgres_programs")]

FAST_CLOCK: Final = "tests.faults.fast_clock"
_PAUSE_SECONDS: Final = 0.05
# While a bus is silent and the sweep alone finds what other nodes stored.
_SILENT_MESSAGES: Final = 200
_COMMITS_WAIT: Final = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_ODD_TIMES: Final = """
SELECT count(*) FILTER (WHERE odd), count(*) FROM (
    SELECT sent_at < lag(sent_at) OVER (PARTITION BY room ORDER BY seq)
        OR abs(extract(epoch FROM clock_timestamp() - sent_at)) > 600 AS odd
    FROM chat.messages
) AS told
"""

SharedFault = Callable[[Stage, Shared], Awaitable[None]]


def check(stage: Stage) -> None:
    """Checks that all of it was a pause."""
    stage.check(cut_off=False)
    stage.check_complete()
    assert all(send.outcome is not Outcome.UNKNOWN for send in stage.history.sends)
    assert len(stage.history.epochs) == 1
    assert stage.world.tracebacks == ""


async def test_killed_nodes_and_engine_are_a_pause_and_proxies_lose_nothing(
    tmp_path: Path,
) -> None:
    async with shared(tmp_path, pause_seconds=_PAUSE_SECONDS) as (stage, one):

        async def nobody_was_cut_off() -> None:
            assert {each.connections for each in stage.crowd.everyone} == {1}
            assert all(send.outcome is not Outcome.UNKNOWN for send in stage.history.sends)

        first, second = map(stage.killing, stage.world.chats)
        proxies = map(stage.killing, stage.world.proxies)
        await stage.outlive([first, one.kill_engine, second, nobody_was_cut_off, *proxies])
        stage.check(cut_off=True)
        stage.check_complete()
        assert len(stage.history.epochs) == 1
        assert stage.world.tracebacks == ""


async def cut_listeners(_: Stage, one: Shared) -> None:
    await one.cut_listeners()


async def cut_connections(_: Stage, one: Shared) -> None:
    await one.cut_connections()


async def drop_hints(stage: Stage, one: Shared) -> None:
    """Silences the way to the bus: hints go nowhere, and nobody is told."""
    assert one.bus_link is not None
    one.bus_link.drop()
    await stage.journal.confirmed_more(_SILENT_MESSAGES)
    one.bus_link.restore()


async def kill_bus(stage: Stage, one: Shared) -> None:
    assert one.bus is not None
    await one.bus.kill()
    await stage.journal.confirmed_more(_SILENT_MESSAGES)
    await one.bus.start()


@pytest.mark.parametrize(
    ("valkey", "faults"),
    [(False, [cut_listeners, cut_connections]), (True, [drop_hints, kill_bus])],
    ids=["notify", "valkey"],
)
async def test_lost_hints_cost_no_message(
    tmp_path: Path, valkey: bool, faults: list[SharedFault], request: pytest.FixtureRequest
) -> None:
    """Each client is on another node than half of the others."""
    if valkey:
        request.getfixturevalue("valkey_program")
    async with shared(tmp_path, valkey=valkey, apart=True, pause_seconds=_PAUSE_SECONDS) as (
        stage,
        one,
    ):
        await stage.outlive([partial(fault, stage, one) for fault in faults])
        check(stage)


async def test_failover_to_a_synchronous_standby_is_a_pause(tmp_path: Path) -> None:
    async with shared(tmp_path, standby=True, pause_seconds=_PAUSE_SECONDS) as (stage, one):

        async def replace() -> None:
            await one.fail_over()
            await one.rejoin()
            # What they know may be of the server before.
            await one.heard_of(2)
            await known_synchronous(stage.world)

        async def leave_the_old_one_alive() -> None:
            """It wakes up, takes writes, and comes first in the address: nobody goes there."""
            new, old = one.standby, one.primary
            assert new is not None
            await old.pause()
            await new.promote()
            await stage.journal.confirmed_more(50)
            await old.resume()
            for _ in range(2):
                await new.terminate("datname = $1", DATABASE)
                await stage.journal.confirmed_more(50)

        await stage.outlive([replace, replace, leave_the_old_one_alive])
        check(stage)


async def refuses(address: str) -> bool:
    """Whether a server says that it takes no writes."""
    try:
        await check_health(f"grpc://{address}", PATIENCE_SECONDS)
    except Unhealthy as error:
        return "NOT_SERVING" in str(error)
    return False


async def test_commits_wait_for_their_standby(tmp_path: Path) -> None:
    """Nothing is confirmed without it, and the wait shows."""
    async with shared(tmp_path, standby=True, pause_seconds=_PAUSE_SECONDS) as (stage, one):
        standby, link = one.standby, one.link
        assert standby is not None
        assert link is not None

        async def all_refuse() -> None:
            for address in stage.world.chat_addresses:
                await eventually(partial(refuses, address))

        async def stall() -> None:
            await standby.pause()
            await one.primary.until(_COMMITS_WAIT)
            await all_refuse()
            before = stage.journal.confirmed
            for url in stage.world.status_urls:
                await scrape_until(url, lambda told: told("chat_commit_wait_seconds") > 0)
            assert stage.journal.confirmed == before
            await standby.resume()

        async def restart() -> None:
            """After a restart all can see commits that wait for the standby, still."""
            link.cut()
            await one.primary.until(_COMMITS_WAIT)
            await one.kill_engine()
            await all_refuse()
            # What was confirmed meanwhile would be lost.
            await one.fail_over()

        await stage.outlive([stall, restart])
        check(stage)


async def test_lost_messages_are_told(tmp_path: Path) -> None:
    """They are not there any more, and positions are given again: under another epoch."""
    async with shared(tmp_path, standby=True, synchronous=False, pause_seconds=_PAUSE_SECONDS) as (
        stage,
        one,
    ):
        standby, link = one.standby, one.link
        assert standby is not None
        assert link is not None

        async def promote_one_that_lags() -> None:
            await one.primary.caught_up(standby)
            link.cut()
            await stage.journal.confirmed_more(200)
            await one.fail_over()

        async def put_back_an_old_image() -> None:
            """The server says the same of itself as before."""
            await one.primary.save()
            await stage.journal.confirmed_more(200)
            await one.primary.put_back()

        stage.history.losses = 2
        await stage.outlive([promote_one_that_lags, put_back_an_old_image])
        assert check_history(stage.history) == []
        assert len(stage.history.epochs) == 3
        assert all(each.lost for each in stage.crowd.settled)
        assert {each.connections for each in stage.crowd.everyone} == {1}


async def test_node_that_slept_and_one_with_another_clock(tmp_path: Path) -> None:
    """The lease of the former ends meanwhile, and its clients go to the other one.

    The clock of that is an hour fast; the times are those of the database.
    """
    async with shared(tmp_path, pause_seconds=_PAUSE_SECONDS, chat_module=("chat", FAST_CLOCK)) as (
        stage,
        one,
    ):

        async def sleep() -> None:
            node = stage.world.chat
            node.send(signal.SIGSTOP)
            await one.expired()
            await stage.journal.confirmed_more(50)
            node.send(signal.SIGCONT)

        await stage.outlive([sleep])
        check(stage)
        [row] = await one.primary.execute(_ODD_TIMES, database=DATABASE)
        odd, number = row
        assert odd == 0
        assert number >= len(stage.history.stored)
