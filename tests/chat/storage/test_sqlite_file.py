"""The SQLite file: created, migrated, or refused."""

import re
import threading
from pathlib import Path

import apsw
import pytest

from chat.storage.base import StoreUnusable
from chat.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS, open_writer
from tests.chat.storage.files import execute, open_files, open_store, opened, rows
from tests.support import message

FULL = 2  # of PRAGMA synchronous


async def refusal(path: Path) -> str:
    """The one-line reason for not opening a file."""
    with pytest.raises(StoreUnusable) as refused:
        await open_store(path)
    line = str(refused.value)
    assert "\n" not in line
    assert str(path) in line
    return line


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content(path: Path) -> bytes:
    return path.read_bytes()


async def make(path: Path) -> None:
    """Creates a database with one message."""
    async with opened(path) as store:
        await store.append([message(key="1")])


def pragma(path: Path, name: str, value: int | None = None) -> object:
    """Reads, or first sets, a number in the header of a database."""
    connection = apsw.Connection(str(path))
    if value is not None:
        connection.pragma(name, value)
    found = connection.pragma(name)
    connection.close()
    return found


async def test_empty_file_is_migrated(path: Path) -> None:
    put(path, b"")
    await make(path)
    assert pragma(path, "user_version") == len(MIGRATIONS)
    assert pragma(path, "application_id") == APPLICATION_ID


async def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "some" / "folders" / "chat.db"
    await make(path)
    assert path.is_file()


def test_commit_waits_for_the_disk(path: Path) -> None:
    """Its effect is tested in `tests/faults/test_power_loss.py`."""
    connection = open_writer(str(path))
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == FULL
    connection.close()


async def test_close_removes_the_wal(path: Path) -> None:
    await make(path)
    assert [file.name for file in path.parent.iterdir() if file.name.startswith("chat.db-")] == []


async def test_history_is_readable_with_sql_tools(path: Path) -> None:
    await make(path)
    [row] = rows(path, "SELECT room_id, seq, sender_id, id, content, sent_at FROM history")
    assert row[:5] == ("room", 1, "ada", "1", "hello")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(row[5]))


async def test_newer_version_is_refused(path: Path) -> None:
    await make(path)
    newer = len(MIGRATIONS) + 1
    pragma(path, "user_version", newer)
    line = await refusal(path)
    assert f"version {newer}" in line
    assert pragma(path, "user_version") == newer


async def test_foreign_database_is_refused_untouched(path: Path) -> None:
    execute(path, "CREATE TABLE notes (text)")
    before = content(path)
    assert "another program" in await refusal(path)
    assert content(path) == before


async def test_foreign_versioned_database_is_refused(path: Path) -> None:
    execute(path, "CREATE TABLE notes (text); PRAGMA user_version = 1")
    assert "another program" in await refusal(path)


@pytest.mark.parametrize("garbage", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 984])
async def test_corrupt_file_is_refused(path: Path, garbage: bytes) -> None:
    put(path, garbage)
    await refusal(path)
    assert content(path) == garbage


async def test_database_without_epoch_is_refused(path: Path) -> None:
    await make(path)
    execute(path, "DELETE FROM meta")
    assert "damaged" in await refusal(path)


async def test_folder_is_refused(tmp_path: Path) -> None:
    await refusal(tmp_path)


async def test_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await refusal(tmp_path / "file" / "chat.db")


async def test_refused_file_opens_once_mended(path: Path) -> None:
    put(path, b"not a database" * 100)
    await refusal(path)
    put(path, b"")
    await make(path)


def readers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("sqlite-reader")]


async def test_readers_are_open_from_start(path: Path) -> None:
    async with opened(path):
        assert len(readers()) == 2
    assert readers() == []


async def test_thread_failure_prevents_opening(path: Path) -> None:
    """It leaves nothing behind: it opens once there is memory."""
    await make(path)
    before = open_files()
    # More memory than any machine has: the thread cannot be started.
    threading.stack_size(1 << 46)
    try:
        assert "can't start new thread" in await refusal(path)
    finally:
        threading.stack_size(0)
    assert readers() == []
    assert open_files() == before
    async with opened(path) as store:
        assert await store.last_seq("room") == 1
