"""Measures the time to read a page of history, in rooms of different sizes.

For each size a database is filled, then pages of 50 are read from random positions in
both directions. The sizes alternate, so that a slow moment of the machine affects
all of them alike.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

from bench.options import Effort, Options
from bench.processes import data_folder
from bench.report import Section, Table, progress
from chat.storage.base import Range
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
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
    store: SqliteStore
    backward: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)


async def measure(numbers: Sequence[int]) -> list[_Size]:
    """Fills a database for each size and reads pages from it."""
    with tempfile.TemporaryDirectory(dir=data_folder()) as folder:
        sizes = [await _filled(Path(folder) / f"{number}.db", number) for number in numbers]
        for number in range(ROUNDS):
            progress(f"pages of history, round {number + 1} of {ROUNDS}")
            for size in sizes:
                size.backward += await _time_pages(size, forward=False)
                size.forward += await _time_pages(size, forward=True)
        for size in sizes:
            await size.store.close()
    return sizes


async def _filled(path: Path, number: int) -> _Size:
    await asyncio.to_thread(_fill, path, number)
    return _Size(number, await SqliteStore.open(str(path), Listener(), queue_bytes=1 << 30))


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


def main(options: Options) -> Section:
    """Runs the benchmark; ratios are to the smallest size."""
    sizes = uvloop.run(measure(_SIZES[options.effort]))
    table = Table(
        f"A page of {PAGE} messages, by the size of the room",
        ["messages", "before_seq, µs", "ratio", "after_seq, µs", "ratio"],
    )
    back_1, fore_1 = median(sizes[0].backward), median(sizes[0].forward)
    rows = []
    for size in sizes:
        back, fore = median(size.backward), median(size.forward)
        table.add(
            f"{size.messages:,}",
            f"{back * 1e6:.0f}",
            f"{back / back_1:.2f}",
            f"{fore * 1e6:.0f}",
            f"{fore / fore_1:.2f}",
        )
        rows.append(
            {
                "messages": size.messages,
                "backward_us": round(back * 1e6, 1),
                "forward_us": round(fore * 1e6, 1),
            }
        )
    return Section([table], {"page": PAGE, "rows": rows})
