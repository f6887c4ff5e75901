"""Files changed while no server ran: damage is noticed wherever SQLite can notice it.

SQLite has checksums in its write-ahead log and none in the database itself. There, a
change within a text or a number cannot be told from what was stored.
"""

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

from chat.storage.base import Page, Range, StoreError, StoreUnusable
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from tests.faults.disk import Loss, put
from tests.faults.story import NAME, ROOMS, Found, Story, check, read, run, tell
from tests.support import MODEL, message

pytestmark = pytest.mark.timeout(300)

Flip = tuple[float, int]
"""Where a byte is changed, as a share of the file, and by which bits."""

flips = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A store whose second life has all its data in the log."""
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
    return await SqliteStore.open(str(path), Listener(), 1 << 20, 3000)


@settings(MODEL, max_examples=60)
@given(flips=flips)
def test_damaged_log_keeps_a_prefix(story: Story, flips: list[Flip]) -> None:
    files = story.disk.after_power_loss(story.announced[-1][0], Loss.NOTHING)
    files[f"{NAME}-wal"] = damage(files[f"{NAME}-wal"], flips)
    look_at(story, files)


@settings(MODEL, max_examples=60)
@given(share=st.floats(0, 1), bits=st.integers(1, 255))
def test_broken_log_byte_costs_one_commit(story: Story, share: float, bits: int) -> None:
    """Larger losses are noticed. The first 32 bytes may be in the middle of a rewrite."""
    files = story.disk.after_power_loss(story.announced[-1][0], Loss.NOTHING)
    log = files[f"{NAME}-wal"]
    files[f"{NAME}-wal"] = log[:32] + damage(log[32:], [(share, bits)])
    found = look_at(story, files)
    if found is not None:
        assert found.number >= story.announced[-2][1]


def look_at(story: Story, files: dict[str, bytes]) -> Found | None:
    """Opens a store; checks that it holds a prefix, unless it is refused as damaged."""

    async def look(path: Path) -> Found | None:
        try:
            store = await open_store(path)
        except StoreUnusable:
            return None
        found = await read(store)
        await store.close()
        check(story, 0, found)
        return found

    with a_path(files) as path:
        return run(look(path))


async def test_log_damaged_midway_is_refused(tmp_path: Path) -> None:
    """Regression: it was opened silently, without most of the confirmed messages."""
    path, copy = tmp_path / NAME, tmp_path / "copy" / NAME
    store = await open_store(path)
    for number in range(60):
        await store.append([message(key=str(number))])
    copy.parent.mkdir()
    for name in (NAME, f"{NAME}-wal"):
        (copy.parent / name).write_bytes((tmp_path / name).read_bytes())
    await store.close()
    log = copy.with_name(f"{NAME}-wal")
    log.write_bytes(damage(log.read_bytes(), [(1 / 3, 1)]))
    with pytest.raises(StoreUnusable, match="restore a backup") as refused:
        await open_store(copy)
    assert "\n" not in str(refused.value)
    # The error text helps.
    log.unlink()
    await (await open_store(copy)).close()


async def use(store: SqliteStore) -> None:
    """Makes every call on a possibly damaged store; only `StoreError` may be raised."""
    calls = [
        *(store.history(room, span) for room in ROOMS for span in (Range(50), Range(50, None, 0))),
        *(store.last_seq(room) for room in ROOMS),
        *(store.append([message(room, key="new")]) for room in (*ROOMS, "another")),
        store.get_user("ada"),
        store.list_users("", 100),
        store.upsert_user("ada", "Ada", ""),
    ]
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, StoreError) or not isinstance(result, BaseException)
        if isinstance(result, Page):
            seqs = [each.seq for each in result.messages]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True


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
def test_damaged_database_never_crashes(story: Story, flips: list[Flip], first_page: bool) -> None:
    [content] = story.disk.after_power_loss(story.disk.now, Loss.NOTHING).values()
    size = 4096 if first_page else len(content)
    damaged = damage(content[:size], flips) + content[size:]
    with a_path({NAME: damaged}) as path, capture_logs():
        run(open_and_use(path))


async def make(path: Path, keys: str = "123") -> None:
    store = await open_store(path)
    await store.append([message(key=key) for key in keys])
    await store.close()


def change(path: Path, sql: str, *values: str) -> None:
    """Changes the file in a way that no server would."""
    connection = apsw.Connection(str(path))
    connection.execute(sql, values)
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE messages SET content = CAST(x'ff' AS TEXT)",
        "UPDATE messages SET sent_at = 1 << 62",
        "UPDATE messages SET position = position + 65 WHERE id = '2'",
        "DELETE FROM messages WHERE id = '2'",
    ],
    ids=["text", "time", "position", "gap"],
)
async def test_meaningless_row_cannot_be_read(tmp_path: Path, sql: str) -> None:
    path = tmp_path / NAME
    await make(path)
    change(path, sql)
    store = await open_store(path)
    for span in (Range(5), Range(5, after_seq=0)):
        with pytest.raises(StoreError):
            await store.history("room", span)
    await store.close()


# Deleted rows of six messages; a page at their edge; and a page that needs none of them.
EDGES = [
    ("1", Range(9), Range(4)),
    ("1", Range(9, before_seq=3), Range(2, before_seq=5)),
    ("1", Range(2, after_seq=0), Range(9, after_seq=1)),
    ("12", Range(1, after_seq=0), Range(9, after_seq=2)),
    ("12", Range(9, before_seq=3), Range(3)),
    ("3", Range(1, after_seq=2), Range(9, after_seq=3)),
    ("3", Range(1, before_seq=4), Range(9, before_seq=3)),
    ("34", Range(9, before_seq=5, after_seq=2), Range(9, before_seq=3, after_seq=0)),
    ("34", Range(9, before_seq=5, after_seq=1), Range(1)),
]


@pytest.mark.parametrize(("gone", "damaged", "whole"), EDGES)
async def test_gap_at_page_edge_is_noticed(
    tmp_path: Path, gone: str, damaged: Range, whole: Range
) -> None:
    """Regression: the page had no gap within, and was served as complete."""
    path = tmp_path / NAME
    await make(path, "123456")
    store = await open_store(path)
    before = await store.history("room", whole)
    assert before.messages
    delete(path, gone)
    with pytest.raises(StoreError, match="missing"):
        await store.history("room", damaged)
    assert await store.history("room", whole) == before
    await store.close()


TAIL_EDGES = [
    (Range(9), Range(2)),
    (Range(9, after_seq=3), Range(1, after_seq=3)),
    (Range(9, before_seq=7), Range(2, before_seq=6)),
    (Range(9, before_seq=7, after_seq=5), Range(9, before_seq=6, after_seq=4)),
]


@pytest.mark.parametrize(("damaged", "whole"), TAIL_EDGES)
async def test_gap_before_newest_messages_is_noticed(
    tmp_path: Path, damaged: Range, whole: Range
) -> None:
    """The newest messages are not in the table yet; their predecessors are missing."""
    path = tmp_path / NAME
    await make(path, "123456")
    store = await open_store(path)
    await store.append([message(key=key) for key in "789"])
    delete(path, "6")
    with pytest.raises(StoreError, match="missing"):
        await store.history("room", damaged)
    assert (await store.history("room", whole)).messages
    await store.close()


async def test_unassigned_positions_are_no_gap(tmp_path: Path) -> None:
    path = tmp_path / NAME
    await make(path)
    store = await open_store(path)
    for keys in ("123", "12345"):
        for span in (Range(9, before_seq=100), Range(9, before_seq=100, after_seq=0)):
            assert [each.id for each in (await store.history("room", span)).messages] == [*keys]
        for span in (Range(9, before_seq=100, after_seq=50), Range(9, after_seq=50)):
            assert (await store.history("room", span)).messages == []
        await store.append([message(key=key) for key in "45"])
    await store.close()


def delete(path: Path, keys: str) -> None:
    for key in keys:
        change(path, "DELETE FROM messages WHERE id = ?", key)


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
async def test_damaged_file_error_is_one_line(tmp_path: Path, sql: str) -> None:
    path = tmp_path / NAME
    await make(path)
    change(path, sql)
    with pytest.raises(StoreUnusable) as refused:
        await open_store(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
