"""Measures how many messages several nodes store together, without servers and proxies.

As many messages wait in all, however many nodes share them. All nodes follow all rooms, so
that each is brought what the others store.
"""

import asyncio
import json
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import engines, meter
from bench.engines import Engine
from bench.options import Effort, Options
from bench.processes import TargetError
from bench.report import Measured, Table, progress, ratio
from bench.targets import ROOT

_NODES: Final = (1, 2, 4)
_ROOMS: Final = (1, 50)
_WAITING: Final = 512
# The number of rounds, and the seconds of each.
_EFFORT: Final = {Effort.QUICK: (1, 0.5), Effort.NORMAL: (5, 1.5), Effort.FULL: (9, 3.0)}


@dataclass(frozen=True, slots=True)
class _Run:
    """What nodes stored together.

    Attributes:
        messages: a second.
        brought: how many of others' messages a node was brought, for each that was stored by
            others.
        cpu: the processor time of all nodes for a message, in seconds.
        engine_cpu: that of PostgreSQL.
    """

    messages: float
    brought: float
    cpu: float
    engine_cpu: float


_Found = dict[tuple[int, int], list[_Run]]
"""The rounds, by the number of rooms and of nodes."""


async def measure(options: Options) -> Measured:
    """Measures the numbers of nodes in alternation."""
    rounds, seconds = _EFFORT[options.effort]
    found: _Found = {(rooms, nodes): [] for rooms in _ROOMS for nodes in _NODES}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(engines.postgresql(Path()))
        for number in range(rounds):
            for rooms, nodes in found if number % 2 == 0 else reversed(found):
                progress(f"nodes, round {number + 1}: {nodes} append to {rooms} rooms")
                found[rooms, nodes].append(await _run(engine, rooms, nodes, seconds))
    rows = [_row(found, *key) for key in found]
    title = f"Nodes that append alone, {_WAITING} messages waiting in all"
    return Table.of(title, _COLUMNS, rows), rows


_COLUMNS: Final = (
    ("rooms", "{rooms}"),
    ("nodes", "{nodes}"),
    ("messages/s", "{messages_per_second:,}"),
    ("x one", "{ratio:.2f}"),
    ("nodes, µs", "{us_per_message:.0f}"),
    ("engine, µs", "{engine_us_per_message:.0f}"),
    ("brought of others'", "{brought:.0%}"),
)


async def _run(engine: Engine, rooms: int, nodes: int, seconds: float) -> _Run:
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(_node(engine, rooms, _WAITING // nodes))
            for _ in range(nodes)
        ]
        # Connections are open, plans are made.
        await _store(processes, 0.3)
        pids = [process.pid for process in processes], engine.pids
        used, engine_used = meter.used(*pids)
        stored = await _store(processes, seconds)
        used_after, engine_after = meter.used(*pids)
    messages = sum(each["messages"] for each in stored)
    of_others = sum(each["of_others"] for each in stored)
    return _Run(
        messages / max(each["seconds"] for each in stored),
        of_others / (messages * (nodes - 1)) if nodes > 1 else 1.0,
        (used_after - used) / messages,
        (engine_after - engine_used) / messages,
    )


@asynccontextmanager
async def _node(engine: Engine, rooms: int, waiting: int) -> AsyncIterator[Process]:
    # Under a name that was used before, all its messages would be repeats.
    name = uuid.uuid4().hex[:8]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.nodes.writers", engine.url, name, str(rooms), str(waiting)),
        cwd=ROOT, stdin=PIPE, stdout=PIPE,
    )  # fmt: skip
    try:
        if await _line(process) != b"ready\n":
            raise TargetError("a node that appends did not start")
        yield process
        _input(process).close()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _store(processes: list[Process], seconds: float) -> list[dict[str, float]]:
    for process in processes:
        _input(process).write(f"{seconds}\n".encode())
    return [json.loads(await _line(process)) for process in processes]


def _input(process: Process) -> asyncio.StreamWriter:
    if process.stdin is None:
        raise AssertionError("started without a pipe")
    return process.stdin


async def _line(process: Process) -> bytes:
    if process.stdout is None:
        raise AssertionError("started without a pipe")
    return await process.stdout.readline()


def _row(found: _Found, rooms: int, nodes: int) -> dict[str, Any]:
    runs, base = found[rooms, nodes], found[rooms, _NODES[0]]
    return {
        "rooms": rooms,
        "nodes": nodes,
        "messages_per_second": round(median(run.messages for run in runs)),
        "ratio": round(ratio([run.messages for run in runs], [run.messages for run in base]), 3),
        "us_per_message": round(median(run.cpu for run in runs) * 1e6, 1),
        "engine_us_per_message": round(median(run.engine_cpu for run in runs) * 1e6, 1),
        **({"brought": round(median(run.brought for run in runs), 3)} if nodes > 1 else {}),
    }
