"""Measures what a hint by NOTIFY costs PostgreSQL, by the number of nodes that listen.

PostgreSQL wakes every connection of the database that listens to anything, whatever the
channel, so that it can look and go on. So the cost grows with the nodes, although none of
these listeners is meant.
"""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

import asyncpg

from bench import engines, meter
from bench.options import Effort, Options
from bench.report import Measured, Table, progress

_LISTENERS: Final = (1, 4, 20, 80)
# The number of rounds, and the seconds of each.
_EFFORT: Final = {Effort.QUICK: (1, 0.5), Effort.NORMAL: (3, 1.5), Effort.FULL: (5, 3.0)}
# With a payload as of a commit of a few messages.
_NOTIFY: Final = "SELECT pg_notify($1, repeat('x', 60))"

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(slots=True)
class _Told:
    """The rounds with one number of listeners.

    Attributes:
        listeners: the connections that listen, to another channel.
        rates: NOTIFYs a second, one after the other, of each round.
        costs: the processor time of PostgreSQL for one, in seconds.
    """

    listeners: int
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


_COLUMNS: Final = (
    ("listeners", "{listeners}"),
    ("NOTIFYs/s", "{per_second:,}"),
    ("engine, µs", "{engine_us:.0f}"),
)


async def measure(options: Options) -> Measured:
    """Measures the numbers of listeners, in each round with more and more of them."""
    rounds, seconds = _EFFORT[options.effort]
    found = [_Told(number) for number in _LISTENERS]
    async with engines.postgresql(Path()) as engine:
        for number in range(rounds):
            async with AsyncExitStack() as stack:
                teller = await _connect(engine.url, stack)
                await teller.execute("SET synchronous_commit = off")
                listening = 0
                for told in found:
                    progress(f"nodes, round {number + 1}: NOTIFY with {told.listeners} listeners")
                    for _ in range(told.listeners - listening):
                        await (await _connect(engine.url, stack)).execute("LISTEN other")
                    listening = told.listeners
                    await _round(teller, engine.pids, seconds, told)
    rows = [
        {
            "listeners": told.listeners,
            "per_second": round(median(told.rates)),
            "engine_us": round(median(told.costs) * 1e6, 1),
        }
        for told in found
    ]
    title = "A NOTIFY, one after the other, by the connections that listen to something else"
    return Table.of(title, _COLUMNS, rows), rows


async def _connect(url: str, stack: AsyncExitStack) -> _Connection:
    connection = await asyncpg.connect(url)
    stack.push_async_callback(connection.close)
    return connection


async def _round(teller: _Connection, pids: tuple[int, ...], seconds: float, told: _Told) -> None:
    used = sum(map(meter.tree_cpu_seconds, pids))
    start = time.perf_counter()
    count = 0
    while time.perf_counter() < start + seconds:
        await teller.execute(_NOTIFY, "told")
        count += 1
    took = time.perf_counter() - start
    told.rates.append(count / took)
    told.costs.append((sum(map(meter.tree_cpu_seconds, pids)) - used) / count)
