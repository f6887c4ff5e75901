"""Measures the SQLite store alone: messages and commits per second, by waiting messages."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

from bench.options import Effort, Options
from bench.processes import data_folder
from bench.report import Section, Table, progress
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage

_WRITERS: Final = (1, 16, 256, 4096)
_ROOMS: Final = 50
_CONTENT: Final = "x" * 64
# The number of rounds, and the seconds for each number of writers in one.
_EFFORT: Final = {Effort.QUICK: (2, 0.5), Effort.NORMAL: (5, 2.0), Effort.FULL: (9, 5.0)}


@dataclass(frozen=True, slots=True)
class _Run:
    messages: float
    commits: float

    @property
    def each(self) -> float:
        return self.messages / max(self.commits, 1)


class _Writers:
    """Clients that each store a message, wait until it is on disk, and store the next."""

    def __init__(self) -> None:
        self._commits = 0
        self._messages = 0
        self._number = 0

    def announce(self, messages: Sequence[ChatMessage]) -> None:
        # The store announces the messages of one commit together.
        self._commits += 1
        self._messages += len(messages)

    async def run(self, store: SqliteStore, writers: int, seconds: float) -> _Run:
        deadline = time.perf_counter() + seconds
        self._commits = self._messages = 0
        start = time.perf_counter()
        await asyncio.gather(
            *(self._write(store, f"room-{number % _ROOMS}", deadline) for number in range(writers))
        )
        took = time.perf_counter() - start
        return _Run(self._messages / took, self._commits / took)

    async def _write(self, store: SqliteStore, room_id: str, deadline: float) -> None:
        while time.perf_counter() < deadline:
            self._number += 1
            message = ChatMessage(
                id=str(self._number), room_id=room_id, sender_id="ada", content=_CONTENT
            )
            await store.append([message])


async def measure(options: Options) -> dict[int, list[_Run]]:
    """Measures the numbers of writers in alternation."""
    rounds, seconds = _EFFORT[options.effort]
    found: dict[int, list[_Run]] = {writers: [] for writers in _WRITERS}
    clients = _Writers()
    with tempfile.TemporaryDirectory(dir=data_folder()) as folder:
        store = await SqliteStore.open(
            str(Path(folder) / "chat.db"), clients.announce, queue_bytes=1 << 30
        )
        for number in range(rounds):
            for writers in _WRITERS:
                progress(f"store, round {number + 1} of {rounds}: {writers:,} at a time")
                found[writers].append(await clients.run(store, writers, seconds))
        await store.close()
    return found


def main(options: Options) -> Section:
    """Runs the benchmark and summarizes it."""
    found = uvloop.run(measure(options))
    table = Table(
        "The store alone, each message on disk before it counts",
        ["messages waiting at a time", "messages/s", "commits/s", "messages/commit"],
    )
    rows = []
    for writers, runs in found.items():
        messages, commits, each = (
            median(getattr(run, name) for run in runs) for name in ("messages", "commits", "each")
        )
        table.add(f"{writers:,}", f"{messages:,.0f}", f"{commits:,.0f}", f"{each:,.1f}")
        rows.append(
            {
                "waiting": writers,
                "messages_per_second": round(messages),
                "commits_per_second": round(commits),
                "messages_per_commit": round(each, 1),
            }
        )
    return Section([table], {"rows": rows})
