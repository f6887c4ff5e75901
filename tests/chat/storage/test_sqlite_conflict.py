"""Positions assigned by two writers: the store stops, and drops nothing silently."""

import json
from pathlib import Path
from typing import Final

import apsw
import pytest
from structlog.testing import capture_logs

from chat.storage.base import Range, StoreError, StoreUnusable
from chat.storage.health import State
from tests.chat.storage.files import FIRST, open_store, opened
from tests.support import eventually, message, seqs

HELP: Final = "two servers wrote to this database"


def put(other: apsw.Connection, seq: int, key: str, content: str = "theirs") -> None:
    """Writes a message of the first room into the table."""
    other.execute("INSERT INTO messages VALUES (?, 'ada', ?, 1, ?)", (FIRST + seq, key, content))


def put_in_journal(other: apsw.Connection, *messages: tuple[int, str]) -> None:
    """Writes messages of the first room into the journal."""
    rows = [[FIRST + seq, "ada", key, 1, "theirs"] for seq, key in messages]
    other.execute("INSERT INTO journal (batch) VALUES (?)", (json.dumps(rows),))


def everything(other: apsw.Connection) -> list[list[tuple[object, ...]]]:
    """The rows of table and journal."""
    return [
        other.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - no input
        for table in ("messages", "journal")
    ]


async def test_other_message_at_position_is_fatal(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message(key="1")])
    store = await open_store(path, idle_seconds=0.01)
    await store.append([message(key="2")])
    other = apsw.Connection(str(path))
    await eventually(lambda: not everything(other)[1])
    put(other, 3, "theirs")
    with capture_logs() as logs:
        await store.append([message(key=str(number)) for number in range(3, 600)])
        await eventually(lambda: store.health.state is State.FATAL)
        before = everything(other)
        with pytest.raises(StoreError, match=HELP):
            await store.append([message(key="x")])
        assert everything(other) == before
        await store.close()
    assert 'position 3 of room "room"' in store.health.reason
    assert HELP in store.health.reason
    assert [line["event"] for line in logs] == ["store failed"]
    table, journal = everything(other)
    assert [row[4] for row in table] == ["hello", "hello", "theirs"]
    assert len(journal) == 1
    other.close()


async def test_message_at_other_position_is_fatal(path: Path) -> None:
    store = await open_store(path)
    await store.append([message(key="1")])
    other = apsw.Connection(str(path))
    put(other, 7, "1")
    with capture_logs() as logs:
        await store.close()
    assert store.health.state is State.FATAL
    assert HELP in store.health.reason
    assert [line["event"] for line in logs] == ["store failed"]
    assert [len(rows) for rows in everything(other)] == [1, 1]
    other.close()


async def test_conflict_in_later_slice_drops_nothing(path: Path) -> None:
    store = await open_store(path)
    await store.append([message(key=str(number)) for number in range(1, 1001)])
    other = apsw.Connection(str(path))
    put(other, 800, "theirs")
    with capture_logs():
        await store.close()
    assert store.health.state is State.FATAL
    table, journal = everything(other)
    assert [len(table), len(journal)] == [513, 1]
    with pytest.raises(StoreUnusable, match='position 800 of room "room"'):
        await open_store(path)
    assert everything(other) == [table, journal]
    other.close()


async def test_same_message_at_position_is_harmless(path: Path) -> None:
    async with opened(path) as store:
        sent = await store.append([message(key=str(number)) for number in range(1, 1001)])
        other = apsw.Connection(str(path))
        other.execute(
            "INSERT INTO messages SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3,"
            " value ->> 4 FROM journal, json_each(batch) WHERE (value ->> 0) % 3 = 0"
        )
        other.close()
    assert store.health.is_serving
    async with opened(path) as store:
        page = await store.history("room", Range(1000, after_seq=0))
        assert page.messages == sent


@pytest.mark.parametrize("folded", [False, True])
async def test_foreign_journal_row_is_noticed(path: Path, folded: bool) -> None:
    store = await open_store(path, idle_seconds=0.01 if folded else None)
    await store.append([message(key="1")])
    other = apsw.Connection(str(path))
    await eventually(lambda: bool(everything(other)[1]) is not folded)
    put_in_journal(other, (2, "theirs"))
    with capture_logs() as logs:
        with pytest.raises(StoreError, match=HELP):
            await store.append([message(key="2")])
        await store.close()
    assert store.health.state is State.FATAL
    assert [line["event"] for line in logs] == ["store failed"]
    assert len(everything(other)[1]) == (2 if folded else 3)
    with pytest.raises(StoreUnusable, match='position 2 of room "room"'):
        await open_store(path)
    other.close()


async def test_emptied_journal_is_noticed(
    path: Path,
) -> None:
    """A second server empties it: on start it folds the journal."""
    store = await open_store(path)
    await store.append([message(key="1")])
    await store.append([message(key="2")])
    other = apsw.Connection(str(path))
    other.execute("DELETE FROM journal")
    with capture_logs():
        with pytest.raises(StoreError, match=HELP):
            await store.append([message(key="3")])
        await store.close()
    assert store.health.state is State.FATAL
    other.close()


@pytest.mark.parametrize(
    "rows",
    [
        [[(1, "theirs")]],
        [[(2, "a"), (3, "b")], [(3, "c")]],
        [[(2, "1")]],
        [[(2, "a")], [(3, "a")]],
    ],
    ids=["beside the table", "in the journal", "a key in the table", "a key in the journal"],
)
async def test_conflicting_journal_prevents_start(
    path: Path, rows: list[list[tuple[int, str]]]
) -> None:
    async with opened(path) as store:
        await store.append([message(key="1")])
    other = apsw.Connection(str(path))
    for row in rows:
        put_in_journal(other, *row)
    before = everything(other)
    with pytest.raises(StoreUnusable) as failure:
        await open_store(path)
    assert "\n" not in str(failure.value)
    assert HELP in str(failure.value)
    assert "restore a backup" in str(failure.value)
    assert everything(other) == before
    # The advice in the message helps.
    other.execute("DELETE FROM journal")
    other.close()
    async with opened(path) as store:
        assert seqs((await store.history("room", Range(9))).messages) == [1]


async def test_journal_with_a_repeat_is_folded(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message(key="1")])
    other = apsw.Connection(str(path))
    put_in_journal(other, (2, "2"))
    put_in_journal(other, (2, "2"), (3, "3"))
    other.close()
    async with opened(path) as store:
        page = await store.history("room", Range(9))
        assert [each.id for each in page.messages] == ["1", "2", "3"]
