"""Measures how long a room takes to move from one cluster to another.

As `docs/scale.md` describes it: what the room has is copied while it goes on, since nothing
of it changes. Then the row that `append` locks is held, the rest is copied, and the room has
its head in the new place. Only that last step makes anybody wait.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg

from bench import engines
from bench.options import Effort, Options
from bench.report import Measured, Table, progress
from bench.stores import open_store

_SIZES: Final = {
    Effort.QUICK: (10_000,),
    Effort.NORMAL: (10_000, 200_000),
    Effort.FULL: (10_000, 200_000, 1_000_000),
}
# What is said while the room is copied.
_TAIL: Final = 100
_COPIED: Final = ("room", "seq", "sent_at", "sender_id", "id", "content")
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


_COLUMNS: Final = (
    ("messages", "{messages:,}"),
    ("copied in, s", "{seconds:.2f}"),
    ("messages/s", "{messages_per_second:,}"),
    ("nobody writes for, ms", "{frozen_ms}"),
    ("bytes for a message", "{bytes_for_a_message}"),
)


async def measure(options: Options) -> Measured:
    """Moves a room of each size."""
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(_cluster())
        new = await stack.enter_async_context(_cluster())
        rows = [await _move(old, new, number) for number in _SIZES[options.effort]]
    return Table.of("A room moves to another cluster", _COLUMNS, rows), rows


@asynccontextmanager
async def _cluster() -> AsyncIterator[_Connection]:
    """A cluster with the tables of a chat server."""
    async with engines.postgresql(Path()) as engine:
        await (await open_store(engine.url)).close()
        connection = await asyncpg.connect(engine.url)
        try:
            yield connection
        finally:
            await connection.close()


async def _move(old: _Connection, new: _Connection, number: int) -> dict[str, float]:
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
    return {
        "messages": number,
        "seconds": round(copied, 3),
        "messages_per_second": round(number / copied),
        "frozen_ms": round(frozen * 1e3, 1),  # in which nobody could write to it
        "bytes_for_a_message": round(used / number),  # on disk, with indexes; its text has 64
    }


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
            "messages", schema_name="chat", columns=_COPIED, source=written(), format="binary"
        )
