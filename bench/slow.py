"""Measures how clients that stop reading affect others in their room, and when they are closed.

The same load is driven through one room with and without ten stuck clients, in alternation.
Stuck clients join and then read nothing.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import meter, processes, workloads
from bench.load import frames
from bench.load.job import Job, Result
from bench.options import Effort, Options
from bench.processes import Running
from bench.report import Section, Table, progress, ratio
from bench.rounds import drive, make_job
from bench.stuck import grpc_client, websocket_client
from bench.targets import PROJECT

_STUCK: Final = 10
_ROUNDS: Final = {Effort.QUICK: 1, Effort.NORMAL: 4, Effort.FULL: 8}
_SECONDS: Final = {Effort.QUICK: 8.0, Effort.NORMAL: 12.0, Effort.FULL: 20.0}
_WARM_UP: Final = 1.0
_LOOK_SECONDS: Final = 0.05
_WEIGH_SECONDS: Final = 0.5
# The time that a closed client has to read the close code, plus a margin.
_LINGER_SECONDS: Final = 6.0
_CUT_OFF: Final = re.compile(r'event="slow consumer[^\n]*waiting=(\d+)')
_MIB: Final = 1024 * 1024

# Opens a client that reads nothing after it has joined a room.
_Stuck = Callable[[Running, str], AbstractAsyncContextManager[None]]


@dataclass(slots=True)
class _Watch:
    """Observations during the load.

    Attributes:
        cut_off: when each stuck client was closed, in seconds since the load began to connect.
        waiting: the number of bytes waiting for it then.
        memory: samples of the memory of the server and the proxy, in bytes.
    """

    cut_off: list[float] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    memory: list[list[int]] = field(default_factory=list)


@dataclass(slots=True)
class _Kind:
    """All rounds with one kind of stuck client.

    Attributes:
        alone: results without them.
        beside: results with them.
        watches: observations of the rounds with them.
        before: the memory of server and proxy after they joined, in bytes.
        after: the same after they were closed and the load ended.
    """

    name: str
    stuck: _Stuck
    alone: list[Result] = field(default_factory=list)
    beside: list[Result] = field(default_factory=list)
    watches: list[_Watch] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)
    after: list[list[int]] = field(default_factory=list)

    async def round(self, running: Running, seconds: float, number: int) -> None:
        """Measures with and without them, in the opposite order in every other round."""
        steps = self._measure_alone, self._measure_beside
        for step in steps if number % 2 == 0 else steps[::-1]:
            job = make_job("drive", workloads.HEALTHY, running, _WARM_UP, seconds)
            await meter.quiet(running.pids)
            await step(running, job)

    async def _measure_alone(self, _: Running, job: Job) -> None:
        self.alone.append(await drive(job, PROJECT))

    async def _measure_beside(self, running: Running, job: Job) -> None:
        [room_id] = frames.room_ids(job.tag, job.workload)
        async with AsyncExitStack() as stack:
            for _ in range(_STUCK):
                await stack.enter_async_context(self.stuck(running, room_id))
            await meter.quiet(running.pids)
            self.before.append(_weigh(running))
            async with _watching(running) as watch:
                self.beside.append(await drive(job, PROJECT))
            self.watches.append(watch)
            await asyncio.sleep(_LINGER_SECONDS)
            await meter.quiet(running.pids)
            self.after.append(_weigh(running))


@asynccontextmanager
async def _watching(running: Running) -> AsyncIterator[_Watch]:
    watch = _Watch()
    tasks = [
        asyncio.create_task(_watch_log(running.log, watch)),
        asyncio.create_task(_watch_memory(running, watch)),
    ]
    try:
        yield watch
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _watch_log(log: Path, watch: _Watch) -> None:
    start = time.perf_counter()
    with log.open() as lines:
        lines.seek(0, 2)
        while True:
            found = [int(size) for size in _CUT_OFF.findall(lines.read())]
            watch.waiting += found
            watch.cut_off += [time.perf_counter() - start] * len(found)
            await asyncio.sleep(_LOOK_SECONDS)


async def _watch_memory(running: Running, watch: _Watch) -> None:
    while True:
        watch.memory.append(_weigh(running))
        await asyncio.sleep(_WEIGH_SECONDS)


def _weigh(running: Running) -> list[int]:
    return [meter.memory_bytes(pid) for pid in running.pids]


async def measure(options: Options) -> Section:
    """Measures the kinds in alternation."""
    kinds = [_Kind("WebSocket", websocket_client), _Kind("gRPC", grpc_client)]
    rounds, seconds = _ROUNDS[options.effort], _SECONDS[options.effort]
    async with processes.running(PROJECT) as running:
        for number in range(rounds):
            for kind in kinds:
                progress(f"slow, round {number + 1} of {rounds}: {kind.name}")
                await kind.round(running, seconds, number)
    rows = list(map(_row, kinds))
    title = f"A room of {workloads.HEALTHY.clients + _STUCK}, {_STUCK} of whom stop reading"
    note = "Memory: when they had joined, at the most, and when they were gone."
    table = Table.of(title, _COLUMNS, rows)
    return Section([table], {"stuck": _STUCK, "rounds": rounds, "rows": rows}, [note])


_COLUMNS: Final = (
    ("stuck clients", "{kind}"),
    ("p50 without, ms", "{p50[without_ms]:.2f}"),
    ("with", "{p50[with_ms]:.2f}"),
    ("ratio", "{p50[ratio]:.2f}"),
    ("p99 without, ms", "{p99[without_ms]:.2f}"),
    ("with", "{p99[with_ms]:.2f}"),
    ("ratio", "{p99[ratio]:.2f}"),
    ("cut off", "{cut_off}"),
    ("after, s", "{cut_off_after_s}"),
    ("with KiB waiting", "{waiting_kib}"),
    ("server, MiB", "{server_mib[0]} / {server_mib[1]} / {server_mib[2]}"),
    ("proxy, MiB", "{proxy_mib[0]} / {proxy_mib[1]} / {proxy_mib[2]}"),
)
_Row = dict[str, Any]


def _row(kind: _Kind) -> _Row:
    row: _Row = {"kind": kind.name}
    for nth, name in enumerate(("p50", "p99")):
        alone = [result.latencies[nth] for result in kind.alone]
        beside = [result.latencies[nth] for result in kind.beside]
        row[name] = {
            "without_ms": round(median(alone) * 1e3, 2),
            "with_ms": round(median(beside) * 1e3, 2),
            "ratio": round(ratio(beside, alone), 2),
        }
    cut_off = [each for watch in kind.watches for each in watch.cut_off]
    waiting = [each for watch in kind.watches for each in watch.waiting]
    row["cut_off"] = f"{len(cut_off)} of {_STUCK * len(kind.watches)}"
    row["cut_off_after_s"] = round(median(cut_off), 1) if cut_off else None
    row["waiting_kib"] = (
        [round(each / 1024) for each in (min(waiting), max(waiting))] if waiting else None
    )
    for nth, name in enumerate(("server", "proxy")):
        most = [max(each[nth] for each in watch.memory) for watch in kind.watches]
        before, after = [each[nth] for each in kind.before], [each[nth] for each in kind.after]
        row[f"{name}_mib"] = [round(median(each) / _MIB) for each in (before, most, after)]
    return row
