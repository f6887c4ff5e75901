"""Bytes that were changed while no server ran: noticed wherever SQLite can notice them.

SQLite has checksums in its write-ahead log and none in the database itself. There, a
change within a text or a number cannot be told from what was stored.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chat.storage.base import Range, StoreError, StoreUnusable
from chat.storage.sqlite import SqliteStore
from tests.chat.storage.filler import unheard
from tests.faults.disk import Loss, put
from tests.faults.story import NAME, ROOMS, Story, check, read, run, tell
from tests.support import MODEL, message

pytestmark = pytest.mark.timeout(300)

Flip = tuple[float, int]
"""Where a byte is changed, as a share of the file, and by which bits."""

flips = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A store whose second life has all it stored in its log."""
    return run(tell(tmp_path_factory.mktemp("disk"), 1 << 30, steps=30, size=10))


def damage(content: bytes, flips: list[Flip]) -> bytes:
    changed = bytearray(content)
    for share, bits in flips:
        changed[int(share * (len(changed) - 1))] ^= bits
    return bytes(changed)


@contextmanager
def a_path(files: dict[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data"
        put(folder, files)
        yield folder / NAME


async def open_store(path: Path) -> SqliteStore:
    return await SqliteStore.open(str(path), unheard, 1 << 20, 3000)


@settings(MODEL, max_examples=60)
@given(flips=flips)
def test_a_damaged_log_holds_a_beginning(story: Story, flips: list[Flip]) -> None:
    files = story.disk.after_power_loss(story.announced[-1][0], Loss.NOTHING)
    files[f"{NAME}-wal"] = damage(files[f"{NAME}-wal"], flips)

    async def look(path: Path) -> None:
        store = await open_store(path)
        check(story, 0, await read(store))
        await store.close()

    with a_path(files) as path:
        run(look(path))


async def use(store: SqliteStore) -> None:
    """Every call, on what may be damaged, ends with an answer or with `StoreError`."""
    calls = [
        *(store.history(room, span) for room in ROOMS for span in (Range(50), Range(50, None, 0))),
        *(store.head(room) for room in ROOMS),
        *(store.append([message(room, key="new")]) for room in (*ROOMS, "another")),
        store.get_user("ada"),
        store.list_users("", 100),
        store.upsert_user("ada", "Ada", ""),
    ]
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, StoreError) or not isinstance(result, BaseException)


async def open_and_use(path: Path) -> None:
    try:
        store = await open_store(path)
    except StoreUnusable as refused:
        line = str(refused)
        assert str(path) in line
        assert "\n" not in line
    else:
        try:
            await use(store)
        finally:
            await store.close()


@settings(MODEL, max_examples=120)
@given(flips=flips, first_page=st.booleans())
def test_a_damaged_database_is_refused_or_used_without_a_crash(
    story: Story, flips: list[Flip], first_page: bool
) -> None:
    [content] = story.disk.after_power_loss(story.disk.now, Loss.NOTHING).values()
    size = 4096 if first_page else len(content)
    damaged = damage(content[:size], flips) + content[size:]
    with a_path({NAME: damaged}) as path, capture_logs():
        run(open_and_use(path))


async def make(path: Path) -> None:
    """Makes a database with one message."""
    store = await open_store(path)
    await store.append([message()])
    await store.close()


def change(path: Path, sql: str) -> None:
    """Leaves something in the file that no server would."""
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE messages SET content = CAST(x'ff' AS TEXT)",
        "UPDATE messages SET sent_at = 1 << 62",
    ],
    ids=["text", "time"],
)
async def test_a_row_that_means_nothing_cannot_be_read(tmp_path: Path, sql: str) -> None:
    path = tmp_path / NAME
    await make(path)
    change(path, sql)
    store = await open_store(path)
    with pytest.raises(StoreError):
        await store.history("room", Range(5))
    assert await store.head("room") == 1
    await store.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE meta SET value = CAST(x'ff' AS TEXT)",
        (
            "PRAGMA writable_schema = ON;"
            " UPDATE sqlite_schema SET sql = replace(sql, 'TEXT', char(39)) WHERE name = 'rooms'"
        ),
        "DROP TABLE journal",
        "INSERT INTO journal (batch) VALUES ('[[1')",
    ],
    ids=["epoch", "schema", "no journal", "journal"],
)
async def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, sql: str) -> None:
    path = tmp_path / NAME
    await make(path)
    change(path, sql)
    with pytest.raises(StoreUnusable) as refused:
        await open_store(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
