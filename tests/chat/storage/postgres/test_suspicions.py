"""A database that does not answer, or seems not to."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from chat.metrics import StoreMetrics
from tests.chat.storage.postgres.nodes import opened
from tests.kit.postgres import Postgres
from tests.support import PATIENCE_SECONDS, eventually, message


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a silence be noticed soon."""
    monkeypatch.setattr("chat.storage.postgres.lease.BEAT_SECONDS", 0.1)
    monkeypatch.setattr("chat.storage.postgres.side.SILENT_SECONDS", 0.5)


async def test_held_up_heartbeat_disturbs_nobody(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        await store.append([message(key="first")])
        connection = await asyncpg.connect(postgres_url)
        looks = asyncio.Event()
        notice = store._side._on_silent  # noqa: SLF001 - there is no other sign that it looked

        def note() -> None:
            notice()
            looks.set()

        store._side._on_silent = note  # noqa: SLF001 - as above
        with capture_logs() as logs:
            async with connection.transaction(), asyncio.timeout(PATIENCE_SECONDS):
                await connection.execute("LOCK TABLE chat.nodes")
                for _ in range(2):
                    await looks.wait()
                    looks.clear()
                await store.append([message(key="second")])
            await store.append([message(key="third")])
        assert not [each for each in logs if "dropped" in each["event"]]
        await connection.close()


@pytest.mark.usefixtures("postgres_programs")
async def test_frozen_server_is_left_for_the_next() -> None:
    """It says nothing, as a machine that lost its power; its standby takes its place."""
    async with Postgres.running() as first, first.standby() as second:
        await first.require_standby()
        metrics = StoreMetrics()
        async with opened(first.url("postgres", second), metrics=metrics) as store:
            epoch = store.epoch
            await eventually(lambda: metrics.synchronous)
            # The note of that is not waited for. Whoever has this message has the note as well.
            await store.append([message(key="first")])
            await first.pause()
            in_flight = store.append([message(key="second")])
            await second.configure(synchronous_standby_names="")
            await second.promote()
            async with asyncio.timeout(PATIENCE_SECONDS):
                [stored] = await in_flight
            assert stored.seq == 2
            assert await store.last_seq("room") == 2
            # Nothing was lost, and the node could know.
            assert store.epoch == epoch
        await first.resume()
