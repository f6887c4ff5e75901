"""Measures the stores alone: messages and commits per second, by waiting messages."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import engines, meter
from bench.engines import Engine
from bench.options import Effort, Options
from bench.processes import temporary_folder
from bench.report import Section, Table, progress, ratio
from bench.stores import open_store, renew
from chat.storage.base import Store
from chat.storage.listener import Listener
from gen.chat import ChatMessage

_WRITERS: Final = (1, 16, 256, 4096)
_ROOMS: Final = 50
_CONTENT: Final = "x" * 64
_SQLITE: Final = "SQLite"
# The number of rounds, and the seconds for each number of writers in one.
_EFFORT: Final = {Effort.QUICK: (2, 0.5), Effort.NORMAL: (5, 2.0), Effort.FULL: (9, 5.0)}


@dataclass(frozen=True, slots=True)
class _Run:
    """What one number of writers did.

    Attributes:
        messages: a second.
        commits: a second.
        cpu: the processor time of this process for a message, in seconds; the writers' too.
        engine_cpu: that of the engine's processes.
    """

    messages: float
    commits: float
    cpu: float
    engine_cpu: float

    @property
    def each(self) -> float:
        return self.messages / max(self.commits, 1)


class _Writers:
    """Clients that each store a message, wait until it is on disk, and store the next."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._commits = 0
        self._messages = 0
        self._number = 0

    def announce(self, messages: Sequence[ChatMessage]) -> None:
        # The store announces the messages of one commit together.
        self._commits += 1
        self._messages += len(messages)

    async def run(self, store: Store, writers: int, seconds: float) -> _Run:
        for room in range(_ROOMS):
            await store.follow(f"room-{room}")
        self._commits = self._messages = 0
        pids = [os.getpid()], self._engine.pids
        used, engine = meter.used(*pids)
        start = time.perf_counter()
        deadline = start + seconds
        await asyncio.gather(
            *(self._write(store, f"room-{number % _ROOMS}", deadline) for number in range(writers))
        )
        took = time.perf_counter() - start
        used_after, engine_after = meter.used(*pids)
        return _Run(
            self._messages / took,
            self._commits / took,
            (used_after - used) / self._messages,
            (engine_after - engine) / self._messages,
        )

    async def _write(self, store: Store, room_id: str, deadline: float) -> None:
        while time.perf_counter() < deadline:
            self._number += 1
            message = ChatMessage(
                id=str(self._number), room_id=room_id, sender_id="ada", content=_CONTENT
            )
            await store.append([message])


_Found = dict[tuple[int, str], list[_Run]]


async def measure(options: Options) -> Section:
    """Measures the numbers of writers and the stores in alternation."""
    missing = engines.missing_postgresql()
    starts = {_SQLITE: engines.file, "PostgreSQL": engines.postgresql}
    if missing:
        del starts["PostgreSQL"]
    found = await _measure(starts, *_EFFORT[options.effort])
    rows = [_row(found, *key) for key in found]
    title = "The store alone, each message on disk before it counts"
    notes = [f"Left out: PostgreSQL; it needs {missing}."] if missing else []
    return Section([Table.of(title, _COLUMNS, rows, words=2)], {"rows": rows}, notes)


async def _measure(starts: Mapping[str, engines.Start], rounds: int, seconds: float) -> _Found:
    found: _Found = {(writers, name): [] for writers in _WRITERS for name in starts}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder()))
        stores: dict[str, tuple[_Writers, Store]] = {}
        for name, start in starts.items():
            engine = await stack.enter_async_context(start(folder))
            clients = _Writers(engine)
            store = await open_store(engine.url, Listener(clients.announce, renew))
            stack.push_async_callback(store.close)
            stores[name] = clients, store
        for number in range(rounds):
            for (writers, name), runs in found.items():
                progress(f"store, round {number + 1} of {rounds}: {writers:,} at a time, {name}")
                clients, store = stores[name]
                # The other may be moving messages from its journal to their table.
                await meter.quiet([os.getpid()])
                runs.append(await clients.run(store, writers, seconds))
    return found


_COLUMNS: Final = (
    ("messages waiting at a time", "{waiting:,}"),
    ("", "{store}"),
    ("messages/s", "{messages_per_second:,}"),
    ("x SQLite", "{messages_per_second_ratio:.2f}"),
    ("commits/s", "{commits_per_second:,}"),
    ("messages/commit", "{messages_per_commit:,}"),
    ("this process, µs", "{us_per_message:.0f}"),
    ("engine, µs", "{engine_us_per_message:.0f}"),
)


def _row(found: _Found, writers: int, name: str) -> dict[str, Any]:
    runs, base = found[writers, name], found[writers, _SQLITE]
    return {
        "waiting": writers,
        "store": name,
        "messages_per_second": round(median(run.messages for run in runs)),
        "messages_per_second_ratio": round(
            ratio([run.messages for run in runs], [run.messages for run in base]), 3
        ),
        "commits_per_second": round(median(run.commits for run in runs)),
        "messages_per_commit": round(median(run.each for run in runs), 1),
        "us_per_message": round(median(run.cpu for run in runs) * 1e6, 1),
        "engine_us_per_message": round(median(run.engine_cpu for run in runs) * 1e6, 1),
    }
