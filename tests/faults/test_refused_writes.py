"""A disk without writes: missing permissions, failures, no space."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from chat.storage.base import StoreError, StoreUnusable
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage
from tests.faults.disk import Disk, Loss, mounted, put
from tests.faults.story import NAME, Found, read
from tests.support import message, told

NOBODY = 65534
FOLD_BYTES = 3000


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user can reach, whichever user runs the tests."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent) / "data"
        folder.mkdir()
        yield folder


# Log lines about a disk that fails for a while.
EVENTS = {
    *("commit failed", "journal not folded", "store refuses writes", "store takes writes again"),
}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Gives up root's right to write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def give_away(path: Path, mode: int) -> None:
    """Gives a file or folder to a user that has no right to it beyond `mode`."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    path.chmod(mode)


def give_away_files(folder: Path) -> None:
    for file in folder.iterdir():
        give_away(file, 0o644)


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def open_store(folder: Path, fold_bytes: int = FOLD_BYTES) -> SqliteStore:
    return await SqliteStore.open(str(folder / NAME), Listener(), 1 << 20, fold_bytes)


async def fill(store: SqliteStore, life: int, number: int) -> None:
    for n in range(number):
        await store.append([message(f"room {n % 5}", "text " * 20, key=f"{life} {n}")])


async def refusal(folder: Path) -> str:
    with as_nobody(), pytest.raises(StoreUnusable) as refused:
        await open_store(folder)
    line = str(refused.value)
    assert "\n" not in line
    assert str(folder / NAME) in line
    return line


async def test_read_only_file_is_refused(folder: Path) -> None:
    store = await open_store(folder)
    await fill(store, 0, 10)
    found = await read(store)
    await store.close()
    give_away(folder, 0o755)
    give_away_files(folder)
    give_away(folder / NAME, 0o444)
    assert "may not be written to" in await refusal(folder)
    give_away(folder / NAME, 0o644)
    with as_nobody():
        store = await open_store(folder)
        assert await read(store) == found
        await fill(store, 1, 1)
        await store.close()


async def test_read_only_folder_is_refused(folder: Path) -> None:
    give_away(folder, 0o555)
    assert "Permission denied" in await refusal(folder)
    assert names(folder) == []
    give_away(folder, 0o755)
    with as_nobody():
        await (await open_store(folder)).close()


async def test_folder_made_read_only_is_refused(folder: Path) -> None:
    """The write-ahead log cannot be created beside the existing database."""
    await (await open_store(folder)).close()
    give_away_files(folder)
    give_away(folder, 0o555)
    await refusal(folder)


@pytest.mark.parametrize("fault", [apsw.FullError, apsw.IOError, apsw.ReadOnlyError])
async def test_passing_disk_failure_loses_nothing(folder: Path, fault: type[apsw.Error]) -> None:
    """Writes and syncs fail, at commits and at folds; readers go on, and later all does."""
    disk = Disk({})
    with mounted(disk, asyncio.get_running_loop()), capture_logs() as logs:
        store = await open_store(folder)
        await fill(store, 0, 50)
        before = await read(store)
        disk.fault = fault
        for n in range(3):
            with pytest.raises(StoreError):
                await store.append([refused(n)])
        assert await read(store) == before
        disk.fault = None
        for n in range(3):
            sent = refused(n)
            [result] = await store.append([sent])
            assert result is sent
        await fill(store, 1, 50)
        after = await read(store)
        moment = disk.now
        await store.close()
    assert {line["event"] for line in told(logs)} <= EVENTS
    assert after.number == before.number + 53
    files = disk.after_power_loss(moment, Loss.EVERYTHING)
    put(folder / "after", files)
    assert await found(folder / "after") == after


def refused(n: int) -> ChatMessage:
    return message(f"room {n}", key=f"refused {n}")


async def found(folder: Path) -> Found:
    store = await open_store(folder)
    try:
        return await read(store)
    finally:
        await store.close()


async def test_store_writes_only_beside_database(folder: Path) -> None:
    """Folds do not depend on a second disk, which may be full or read-only."""
    disk = Disk({})
    with mounted(disk, asyncio.get_running_loop()) as vfs:
        store = await open_store(folder)
        await store.append(
            [message(f"room {n % 5}", "x" * 1000, sender_id=f"{n}", key=f"{n}") for n in range(500)]
        )
        await fill(store, 1, 50)
        await read(store)
        await store.close()
        assert vfs.temporary_files == 0
