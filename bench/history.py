"""What a page of history costs, in rooms of different sizes.

For each size a database is filled through the store itself, then pages of 50 are
read from random places in both directions. The sizes take turns, so that a slow
moment of the machine falls on all of them alike.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.report import Table, progress
from chat.storage.base import Range
from chat.storage.sqlite import SqliteStore
from gen.chat_codec import make_chat_message

PAGE = 50
PAGES_A_ROUND = 200
ROUNDS = 5
_BATCH = 2000
_CONTENT = "x" * 64


async def measure(sizes: Sequence[int]) -> Table:
    """Fills a database for each size and reads pages from it.

    Returns:
        A row for each size: microseconds for a page, in the median of all, with
        the ratio to the smallest size.
    """
    with tempfile.TemporaryDirectory() as folder:
        stores = {size: await _filled(Path(folder) / f"{size}.db", size) for size in sizes}
        backward: dict[int, list[float]] = {size: [] for size in sizes}
        forward: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(ROUNDS):
            for size, store in stores.items():
                backward[size] += await _time_pages(store, size, forward=False)
                forward[size] += await _time_pages(store, size, forward=True)
        for store in stores.values():
            await store.close()
    return _table(sizes, backward, forward)


async def _filled(path: Path, size: int) -> SqliteStore:
    store = await SqliteStore.open(str(path), lambda _: None, queue_bytes=1 << 30)
    for start in range(0, size, _BATCH):
        await store.append(
            [
                make_chat_message(id=str(number), room_id="room", sender_id="ada", content=_CONTENT)
                for number in range(start, min(start + _BATCH, size))
            ]
        )
        progress(f"filling a room: {min(start + _BATCH, size):,} of {size:,}")
    return store


async def _time_pages(store: SqliteStore, size: int, *, forward: bool) -> list[float]:
    times = []
    for _ in range(PAGES_A_ROUND):
        position = random.randrange(PAGE, size - PAGE)  # noqa: S311 - not a secret
        span = Range(PAGE, after_seq=position) if forward else Range(PAGE, before_seq=position)
        start = time.perf_counter()
        page = await store.history("room", span)
        times.append(time.perf_counter() - start)
        if not page.messages:
            raise AssertionError("a page came back empty")
    return times


def _table(
    sizes: Sequence[int], backward: dict[int, list[float]], forward: dict[int, list[float]]
) -> Table:
    table = Table(
        f"A page of {PAGE} messages, by the size of the room",
        ["messages", "before_seq, us", "ratio", "after_seq, us", "ratio"],
    )
    first = sizes[0]
    for size in sizes:
        back, fore = (statistics.median(times[size]) for times in (backward, forward))
        back_1, fore_1 = (statistics.median(times[first]) for times in (backward, forward))
        table.add(
            f"{size:,}",
            f"{back * 1e6:.0f}",
            f"{back / back_1:.2f}",
            f"{fore * 1e6:.0f}",
            f"{fore / fore_1:.2f}",
        )
    return table


def main(*, quick: bool) -> None:
    """Measures and prints."""
    sizes = (1_000, 100_000) if quick else (1_000, 100_000, 1_000_000)
    asyncio.run(measure(sizes)).print()
