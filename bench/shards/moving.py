"""Measures how long a room takes to move from one cluster to another.

As `docs/scale.md` describes it: what the room has is copied while it goes on, since nothing
of it changes. Then the row that `append` locks is held, the rest is copied, and the room has
its head in the new place. Only that last step makes anybody wait.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import asyncpg
import uvloop

from bench import engines
from bench.options import Effort, Options
from bench.report import Table, progress
from chat.storage.listener import Listener
from chat.storage.postgres import PostgresStore

_SIZES: Final = {
    Effort.QUICK: (10_000,),
    Effort.NORMAL: (10_000, 200_000),
    Effort.FULL: (10_000, 200_000, 1_000_000),
}
# What is said while the room is copied.
_TAIL: Final = 100
_COLUMNS: Final = ("room", "seq", "sent_at", "sender_id", "id", "content")
_CHUNKS: Final = 64

_FILL: Final = """
INSERT INTO chat.messages (room, seq, sent_at, sender_id, id, content)
SELECT $1, seq, clock_timestamp(), 'u0', gen_random_uuid()::text, repeat('x', 64)
FROM generate_series($2::bigint, $3::bigint) AS seq
"""
_READ: Final = """
SELECT $1::bigint, seq, sent_at, sender_id, id, content FROM chat.messages
WHERE room = $2 AND seq > $3
"""
_SIZE: Final = """
SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
WHERE inhparent = 'chat.messages'::regclass
"""

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Moved:
    """One room that moved.

    Attributes:
        messages: how many it had.
        seconds: the time of the copy.
        frozen: the time in which nobody could write to it, in seconds.
        bytes_each: the bytes on disk for a message, with its indexes; its text has 64.
    """

    messages: int
    seconds: float
    frozen: float
    bytes_each: float


async def measure(options: Options) -> list[Moved]:
    """Moves a room of each size."""
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(_cluster())
        new = await stack.enter_async_context(_cluster())
        return [await _move(old, new, number) for number in _SIZES[options.effort]]


@asynccontextmanager
async def _cluster() -> AsyncIterator[_Connection]:
    """A cluster with the tables of a chat server."""
    async with engines.postgresql(Path()) as engine:
        store = await PostgresStore.open(engine.url, Listener(), 1 << 20)
        await store.close()
        connection = await asyncpg.connect(engine.url)
        try:
            yield connection
        finally:
            await connection.close()


async def _move(old: _Connection, new: _Connection, number: int) -> Moved:
    name = f"room-{number}"
    progress(f"shards: moving a room of {number:,} messages")
    before = await old.fetchval(_SIZE)
    source, target = await _make(old, name), await _make(new, name)
    await old.execute(_FILL, source, 1, number)
    used = await old.fetchval(_SIZE) - before
    start = time.perf_counter()
    await _copy(old, new, source, target, after=0)
    copied = time.perf_counter() - start
    await old.execute(_FILL, source, number + 1, number + _TAIL)
    start = time.perf_counter()
    async with old.transaction():
        await old.execute("SELECT FROM chat.rooms WHERE room = $1 FOR UPDATE", source)
        async with new.transaction():
            await _copy(old, new, source, target, after=number)
            await new.execute(
                "UPDATE chat.rooms SET head = $2, last_at = clock_timestamp() WHERE room = $1",
                *(target, number + _TAIL),
            )
    frozen = time.perf_counter() - start
    return Moved(number, copied, frozen, used / number)


async def _make(connection: _Connection, name: str) -> int:
    query = "INSERT INTO chat.rooms (room_id) VALUES ($1) RETURNING room"
    return int(await connection.fetchval(query, name))


async def _copy(
    old: _Connection, new: _Connection, source: int, target: int, *, after: int
) -> None:
    """Copies messages behind a position, without holding more than a few pieces in memory."""
    pieces: asyncio.Queue[bytes] = asyncio.Queue(_CHUNKS)

    async def read() -> None:
        await old.copy_from_query(_READ, target, source, after, output=pieces.put, format="binary")
        await pieces.put(b"")

    async def written() -> AsyncIterator[bytes]:
        while piece := await pieces.get():
            yield piece

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        await new.copy_to_table(
            "messages", schema_name="chat", columns=_COLUMNS, source=written(), format="binary"
        )


def table(moved: list[Moved]) -> Table:
    """The table for people."""
    shown = Table(
        "A room moves to another cluster",
        ["messages", "copied in, s", "messages/s", "nobody writes for, ms", "bytes for a message"],
    )
    for each in moved:
        shown.add(
            f"{each.messages:,}", f"{each.seconds:.2f}", f"{each.messages / each.seconds:,.0f}",
            f"{each.frozen * 1e3:.1f}", f"{each.bytes_each:.0f}",
        )  # fmt: skip
    return shown


def data(moved: list[Moved]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "messages": each.messages,
            "seconds": round(each.seconds, 3),
            "frozen_ms": round(each.frozen * 1e3, 1),
            "bytes_for_a_message": round(each.bytes_each),
        }
        for each in moved
    ]


def main(options: Options) -> list[Moved]:
    """Measures; see `measure`."""
    return uvloop.run(measure(options))
