"""Measures following many rooms: how soon all are followed, and how long a sweep takes.

A sweep compares the heads of all followed rooms with what was announced of them, in case no
hint told of a message.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench import engines, meter
from bench.engines import Engine
from bench.options import Options
from bench.report import Table, progress
from chat.metrics import StoreMetrics
from chat.storage.listener import Head, Listener
from chat.storage.postgres import PostgresStore

_ROOMS: Final = (1_000, 10_000)
_SWEEP_SECONDS: Final = 0.2
# The number of sweeps that are measured.
_SWEEPS: Final = 10
_LOOK_SECONDS: Final = 0.05
_QUEUE_BYTES: Final = 1 << 20

_FILL: Final = """
WITH made AS (
    INSERT INTO chat.rooms (room_id, head)
    SELECT 'room-' || number, 1 FROM generate_series(1, $1) AS number
    RETURNING room
)
INSERT INTO chat.messages (room, seq, sent_at, sender_id, id, content)
SELECT room, 1, clock_timestamp(), 'ada', 'first', 'hello' FROM made
"""


@dataclass(frozen=True, slots=True)
class Swept:
    """One number of rooms.

    Attributes:
        rooms: the number.
        follow: the time until all were followed, in seconds.
        sweep: the time of a sweep, in seconds.
        cpu: the processor time of this process for one, in seconds.
        engine_cpu: that of PostgreSQL.
    """

    rooms: int
    follow: float
    sweep: float
    cpu: float
    engine_cpu: float


async def measure(_: Options) -> list[Swept]:
    """Measures each number of rooms, in a database with the most of them."""
    async with engines.postgresql(Path()) as engine:
        await _fill(engine, max(_ROOMS))
        return [await _measure(engine, rooms) for rooms in _ROOMS]


async def _fill(engine: Engine, rooms: int) -> None:
    await (await _open(engine, StoreMetrics())).close()
    connection = await asyncpg.connect(engine.url)
    try:
        await connection.execute(_FILL, rooms)
        await connection.execute("ANALYZE chat.rooms")
    finally:
        await connection.close()


async def _open(engine: Engine, metrics: StoreMetrics) -> PostgresStore:
    def renew(_: Mapping[str, Head]) -> None:
        raise AssertionError("the history became another one")

    return await PostgresStore.open(
        engine.url, Listener(renew=renew), _QUEUE_BYTES,
        metrics=metrics, sweep_seconds=_SWEEP_SECONDS,
    )  # fmt: skip


async def _measure(engine: Engine, rooms: int) -> Swept:
    progress(f"nodes: following {rooms:,} rooms")
    metrics = StoreMetrics()
    store = await _open(engine, metrics)
    start = time.perf_counter()
    await asyncio.gather(*(store.follow(f"room-{number}") for number in range(1, rooms + 1)))
    follow = time.perf_counter() - start
    # One that had begun before does not count.
    await _sweeps(metrics, 1)
    before, used = metrics.sweep_seconds.sum, _used(engine)
    count = await _sweeps(metrics, _SWEEPS)
    cpu, engine_cpu = (after - then for after, then in zip(_used(engine), used, strict=True))
    swept = metrics.sweep_seconds.sum - before
    await store.close()
    return Swept(rooms, follow, swept / count, cpu / count, engine_cpu / count)


async def _sweeps(metrics: StoreMetrics, number: int) -> int:
    """Waits for some sweeps; returns how many there were."""
    before = sum(metrics.sweep_seconds.counts)
    while (count := sum(metrics.sweep_seconds.counts) - before) < number:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)
    return count


def _used(engine: Engine) -> tuple[float, float]:
    own = meter.cpu_seconds(os.getpid())
    return own, sum(map(meter.tree_cpu_seconds, engine.pids))


def table(found: list[Swept]) -> Table:
    """The table for people."""
    shown = Table(
        "Followed rooms, none of which has anything new",
        ["rooms", "all followed, s", "sweep, ms", "this process, ms", "engine, ms"],
    )
    for each in found:
        shown.add(
            f"{each.rooms:,}", f"{each.follow:.2f}",
            *(f"{figure * 1e3:.1f}" for figure in (each.sweep, each.cpu, each.engine_cpu)),
        )  # fmt: skip
    return shown


def data(found: list[Swept]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "rooms": each.rooms,
            "follow_seconds": round(each.follow, 3),
            "sweep_ms": round(each.sweep * 1e3, 1),
            "cpu_ms": round(each.cpu * 1e3, 1),
            "engine_cpu_ms": round(each.engine_cpu * 1e3, 1),
        }
        for each in found
    ]
