"""Measures following many rooms: how soon all are followed, and how long a sweep takes.

A sweep compares the heads of all followed rooms with what was announced of them, in case no
hint told of a message.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import asyncpg

from bench import engines, meter
from bench.engines import Engine
from bench.options import Options
from bench.report import Measured, Table, progress
from bench.stores import QUEUE_BYTES, open_store, renew
from chat.metrics import StoreMetrics
from chat.storage.listener import Listener
from chat.storage.postgres import PostgresStore

_ROOMS: Final = (1_000, 10_000)
_SWEEP_SECONDS: Final = 0.2
# The number of sweeps that are measured.
_SWEEPS: Final = 10
_LOOK_SECONDS: Final = 0.05

_FILL: Final = """
WITH made AS (
    INSERT INTO chat.rooms (room_id, head)
    SELECT 'room-' || number, 1 FROM generate_series(1, $1) AS number
    RETURNING room
)
INSERT INTO chat.messages (room, seq, sent_at, sender_id, id, content)
SELECT room, 1, clock_timestamp(), 'ada', 'first', 'hello' FROM made
"""


_COLUMNS: Final = (
    ("rooms", "{rooms:,}"),
    ("all followed, s", "{follow_seconds:.2f}"),
    ("sweep, ms", "{sweep_ms}"),
    ("this process, ms", "{cpu_ms}"),
    ("engine, ms", "{engine_cpu_ms}"),
)


async def measure(_: Options) -> Measured:
    """Measures each number of rooms, in a database with the most of them."""
    async with engines.postgresql(Path()) as engine:
        await _fill(engine, max(_ROOMS))
        rows = [await _measure(engine, rooms) for rooms in _ROOMS]
    return Table.of("Followed rooms, none of which has anything new", _COLUMNS, rows), rows


async def _fill(engine: Engine, rooms: int) -> None:
    await (await open_store(engine.url)).close()
    connection = await asyncpg.connect(engine.url)
    try:
        await connection.execute(_FILL, rooms)
        await connection.execute("ANALYZE chat.rooms")
    finally:
        await connection.close()


async def _measure(engine: Engine, rooms: int) -> dict[str, float]:
    progress(f"nodes: following {rooms:,} rooms")
    metrics = StoreMetrics()
    store = await PostgresStore.open(
        engine.url, Listener(renew=renew), QUEUE_BYTES,
        metrics=metrics, sweep_seconds=_SWEEP_SECONDS,
    )  # fmt: skip
    start = time.perf_counter()
    await asyncio.gather(*(store.follow(f"room-{number}") for number in range(1, rooms + 1)))
    follow = time.perf_counter() - start
    # One that had begun before does not count.
    await _sweeps(metrics, 1)
    pids = [os.getpid()], engine.pids
    before, used = metrics.sweep_seconds.sum, meter.used(*pids)
    count = await _sweeps(metrics, _SWEEPS)
    cpu, engine_cpu = (after - then for after, then in zip(meter.used(*pids), used, strict=True))
    swept = metrics.sweep_seconds.sum - before
    await store.close()
    return {
        "rooms": rooms,
        "follow_seconds": round(follow, 3),
        "sweep_ms": round(swept / count * 1e3, 1),
        "cpu_ms": round(cpu / count * 1e3, 1),
        "engine_cpu_ms": round(engine_cpu / count * 1e3, 1),
    }


async def _sweeps(metrics: StoreMetrics, number: int) -> int:
    """Waits for some sweeps; returns how many there were."""
    before = sum(metrics.sweep_seconds.counts)
    while (count := sum(metrics.sweep_seconds.counts) - before) < number:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_SECONDS)
    return count
