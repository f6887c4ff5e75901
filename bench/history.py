"""Measures the time to read a page of history, in rooms of different sizes.

For each size a database is filled, then pages of 50 are read from random positions in
both directions. The sizes alternate, so that a slow moment of the machine affects
all of them alike.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench.options import Effort, Options
from bench.processes import temporary_folder
from bench.report import Section, Table, progress
from bench.stores import open_store
from chat.storage.base import Range, Store
from chat.storage.sqlite.schema import open_writer

PAGE: Final = 50
PAGES_A_ROUND: Final = 200
ROUNDS: Final = 5
_SIZES: Final = {
    Effort.QUICK: (1_000, 100_000),
    Effort.NORMAL: (1_000, 100_000, 1_000_000),
    Effort.FULL: (1_000, 100_000, 10_000_000),
}
_STEP: Final = 250_000
_ROOM: Final = "room"

# Insert into the tables directly: ten million messages through the store take many minutes.
_FILL: Final = """
WITH RECURSIVE numbers (seq) AS (
    SELECT ?1 UNION ALL SELECT seq + 1 FROM numbers WHERE seq < ?2
)
INSERT INTO messages
SELECT (SELECT room << 32 FROM rooms WHERE room_id = ?3) | seq, 'ada', printf('%08d', seq),
       1700000000000000 + seq, ?4
FROM numbers
"""


@dataclass(slots=True)
class _Size:
    messages: int
    store: Store
    backward: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)


_COLUMNS: Final = (
    ("messages", "{messages:,}"),
    ("before_seq, µs", "{backward_us:.0f}"),
    ("ratio", "{backward_ratio:.2f}"),
    ("after_seq, µs", "{forward_us:.0f}"),
    ("ratio", "{forward_ratio:.2f}"),
)


async def measure(options: Options) -> Section:
    """Fills a database for each size and reads pages from it; ratios are to the smallest."""
    with temporary_folder() as folder:
        sizes = [
            await _filled(Path(folder) / f"{number}.db", number)
            for number in _SIZES[options.effort]
        ]
        for number in range(ROUNDS):
            progress(f"pages of history, round {number + 1} of {ROUNDS}")
            for size in sizes:
                size.backward += await _time_pages(size, forward=False)
                size.forward += await _time_pages(size, forward=True)
        for size in sizes:
            await size.store.close()
    rows = [_row(size, sizes[0]) for size in sizes]
    title = f"A page of {PAGE} messages, by the size of the room"
    return Section([Table.of(title, _COLUMNS, rows)], {"page": PAGE, "rows": rows})


def _row(size: _Size, smallest: _Size) -> dict[str, float]:
    back, fore = median(size.backward), median(size.forward)
    return {
        "messages": size.messages,
        "backward_us": round(back * 1e6, 1),
        "backward_ratio": round(back / median(smallest.backward), 3),
        "forward_us": round(fore * 1e6, 1),
        "forward_ratio": round(fore / median(smallest.forward), 3),
    }


async def _filled(path: Path, number: int) -> _Size:
    await asyncio.to_thread(_fill, path, number)
    return _Size(number, await open_store(str(path)))


def _fill(path: Path, number: int) -> None:
    connection = open_writer(str(path))
    connection.execute("INSERT INTO rooms (room_id) VALUES (?)", (_ROOM,))
    for start in range(1, number + 1, _STEP):
        end = min(start + _STEP - 1, number)
        progress(f"filling a room: {end:,} of {number:,}")
        connection.execute(_FILL, (start, end, _ROOM, "x" * 64))
    connection.close()


async def _time_pages(size: _Size, *, forward: bool) -> list[float]:
    times = []
    for _ in range(PAGES_A_ROUND):
        at = random.randrange(PAGE, size.messages - PAGE)  # noqa: S311 - not a secret
        span = Range(PAGE, after_seq=at) if forward else Range(PAGE, before_seq=at)
        start = time.perf_counter()
        page = await size.store.history(_ROOM, span)
        times.append(time.perf_counter() - start)
        if not page.messages:
            raise AssertionError("a page came back empty")
    return times
