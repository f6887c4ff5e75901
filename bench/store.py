"""Measures the stores alone: messages and commits per second, by waiting messages."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop

from bench import engines, meter
from bench.engines import Engine
from bench.options import Effort, Options
from bench.processes import data_folder
from bench.report import Section, Table, progress
from chat.storage.base import Store
from chat.storage.listener import Announce, Head, Listener
from chat.storage.postgres import PostgresStore
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage

_WRITERS: Final = (1, 16, 256, 4096)
_ROOMS: Final = 50
_CONTENT: Final = "x" * 64
_QUEUE_BYTES: Final = 1 << 30
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
        used, engine = self._used()
        start = time.perf_counter()
        deadline = start + seconds
        await asyncio.gather(
            *(self._write(store, f"room-{number % _ROOMS}", deadline) for number in range(writers))
        )
        took = time.perf_counter() - start
        used_after, engine_after = self._used()
        return _Run(
            self._messages / took,
            self._commits / took,
            (used_after - used) / self._messages,
            (engine_after - engine) / self._messages,
        )

    def _used(self) -> tuple[float, float]:
        own = meter.cpu_seconds(os.getpid())
        return own, sum(map(meter.tree_cpu_seconds, self._engine.pids))

    async def _write(self, store: Store, room_id: str, deadline: float) -> None:
        while time.perf_counter() < deadline:
            self._number += 1
            message = ChatMessage(
                id=str(self._number), room_id=room_id, sender_id="ada", content=_CONTENT
            )
            await store.append([message])


def _renew(_: Mapping[str, Head]) -> None:
    raise AssertionError("the history became another one")


async def _open_sqlite(url: str, announce: Announce) -> Store:
    return await SqliteStore.open(url, Listener(announce), queue_bytes=_QUEUE_BYTES)


async def _open_postgresql(url: str, announce: Announce) -> Store:
    return await PostgresStore.open(url, Listener(announce, _renew), _QUEUE_BYTES)


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    start: engines.Start
    open: Callable[[str, Announce], Awaitable[Store]]


_SQLITE: Final = _Kind("SQLite", engines.file, _open_sqlite)
_POSTGRESQL: Final = _Kind("PostgreSQL", engines.postgresql, _open_postgresql)

_Found = dict[tuple[int, str], list[_Run]]


async def measure(options: Options, kinds: Sequence[_Kind]) -> _Found:
    """Measures the numbers of writers and the stores in alternation."""
    rounds, seconds = _EFFORT[options.effort]
    found: _Found = {(writers, kind.name): [] for writers in _WRITERS for kind in kinds}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=data_folder())))
        stores: dict[str, tuple[_Writers, Store]] = {}
        for kind in kinds:
            engine = await stack.enter_async_context(kind.start(folder))
            clients = _Writers(engine)
            store = await kind.open(engine.url, clients.announce)
            stack.push_async_callback(store.close)
            stores[kind.name] = clients, store
        for number in range(rounds):
            for (writers, name), runs in found.items():
                progress(f"store, round {number + 1} of {rounds}: {writers:,} at a time, {name}")
                clients, store = stores[name]
                # The other may be moving messages from its journal to their table.
                await meter.quiet([os.getpid()])
                runs.append(await clients.run(store, writers, seconds))
    return found


def main(options: Options) -> Section:
    """Runs the benchmark and summarizes it."""
    missing = engines.missing_postgresql()
    kinds = [_SQLITE] if missing else [_SQLITE, _POSTGRESQL]
    found = uvloop.run(measure(options, kinds))
    table = Table(
        "The store alone, each message on disk before it counts",
        [
            *("messages waiting at a time", "", "messages/s", "x SQLite", "commits/s"),
            *("messages/commit", "this process, µs", "engine, µs"),
        ],
        words=2,
    )
    rows = [_row(found, *key) for key in found]
    for row in rows:
        table.add(
            f"{row['waiting']:,}", row["store"], f"{row['messages_per_second']:,}",
            f"{row['messages_per_second_ratio']:.2f}", f"{row['commits_per_second']:,}",
            f"{row['messages_per_commit']:,}", f"{row['us_per_message']:.0f}",
            f"{row['engine_us_per_message']:.0f}",
        )  # fmt: skip
    notes = [f"Left out: PostgreSQL; it needs {missing}."] if missing else []
    return Section([table], {"rows": rows}, notes)


def _row(found: _Found, writers: int, name: str) -> dict[str, Any]:
    runs, base = found[writers, name], found[writers, _SQLITE.name]
    messages, commits, each, cpu, engine = (
        median(getattr(run, figure) for run in runs)
        for figure in ("messages", "commits", "each", "cpu", "engine_cpu")
    )
    ratio = median(run.messages / other.messages for run, other in zip(runs, base, strict=True))
    return {
        "waiting": writers,
        "store": name,
        "messages_per_second": round(messages),
        "messages_per_second_ratio": round(ratio, 3),
        "commits_per_second": round(commits),
        "messages_per_commit": round(each, 1),
        "us_per_message": round(cpu * 1e6, 1),
        "engine_us_per_message": round(engine * 1e6, 1),
    }
