"""The journal: appended by commits, folded into the table."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from chat.storage.base import Range
from chat.storage.sqlite import SqliteStore
from tests.chat.storage.files import open_store, opened, rows
from tests.chat.storage.filler import COMMIT, ROOMS, fill
from tests.support import eventually, message, no_file_grows_past, seqs

IDLE = 0.01
NEVER = 1 << 30
EVERYTHING = Range(1 << 20, after_seq=0)


def count(path: Path, table: str) -> int:
    """The number of rows."""
    [(number,)] = rows(path, f"SELECT count(*) FROM {table}")  # noqa: S608 - no input
    return int(number)


def fill_and_kill(path: Path, fold_bytes: int, number: int) -> int:
    """Runs `filler.py` and kills it; returns the number of confirmed messages."""
    command = [sys.executable, "-m", "tests.chat.storage.filler", str(path), str(fold_bytes)]
    confirmed = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        for line in process.stdout:
            confirmed = int(line)
            if confirmed >= number:
                process.kill()
    return confirmed


async def check(store: SqliteStore, number: int) -> None:
    """Checks that each message is stored once and in its place, with at most one commit more."""
    heads = [await store.last_seq(f"room {room}") for room in range(ROOMS)]
    assert sum(heads) in (number, number + COMMIT)
    for room, head in enumerate(heads):
        page = await store.history(f"room {room}", EVERYTHING)
        assert seqs(page.messages) == list(range(1, head + 1))
        assert [each.id for each in page.messages] == [str(room + ROOMS * n) for n in range(head)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "chat.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """A store that does not fold when idle."""
    async with opened(path, fold_bytes=NEVER) as store:
        yield store


async def test_new_messages_are_in_the_journal_only(store: SqliteStore, path: Path) -> None:
    await fill(store, 0, 100)
    assert count(path, "journal") == 10
    assert count(path, "messages") == 0
    assert count(path, "history") == 100
    await check(store, 100)


async def test_close_folds_the_journal(path: Path) -> None:
    async with opened(path, fold_bytes=NEVER) as store:
        await fill(store, 0, 1000)
    assert count(path, "journal") == 0
    assert count(path, "messages") == count(path, "history") == 1000


async def test_idle_store_folds_a_full_journal(path: Path) -> None:
    async with opened(path, fold_bytes=50_000) as store:
        await fill(store, 0, 1000)
        await eventually(lambda: count(path, "messages") >= 128)
        await check(store, 1000)


def writer_wakeups() -> int:
    """The number of times the writer thread has slept, by the kernel's count."""
    [writer] = [thread for thread in threading.enumerate() if thread.name == "sqlite-writer"]
    status = Path(f"/proc/self/task/{writer.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


async def sleeps_on() -> bool:
    """Whether the sleeping writer thread wakes only to check its files, once a second.

    One that does not sleep wakes as often as it looks whether it is idle.
    """
    before = -1
    while before != (before := writer_wakeups()):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.05)
    begin = time.monotonic()
    await asyncio.sleep(50 * IDLE)
    return writer_wakeups() - before < (time.monotonic() - begin) / IDLE / 5


async def test_idle_store_folds_the_rest_and_sleeps(path: Path) -> None:
    async with opened(path, fold_bytes=NEVER, idle_seconds=IDLE) as store:
        for start, number in ((0, 30), (30, 10)):
            await fill(store, start, number)
            await eventually(lambda: count(path, "journal") == 0)
            await check(store, start + number)
        assert await sleeps_on()


async def test_idle_store_sleeps_if_it_cannot_fold(path: Path) -> None:
    async with opened(path, fold_bytes=NEVER, idle_seconds=IDLE) as store:
        other = apsw.Connection(str(path))
        other.execute(
            "CREATE TRIGGER failing BEFORE INSERT ON messages BEGIN SELECT json('no JSON'); END"
        )
        with capture_logs() as logs:
            await fill(store, 0, 10)
            await eventually(lambda: len(logs) > 0)
            assert await sleeps_on()
        assert [line["event"] for line in logs] == ["journal not folded"]
        other.execute("DROP TRIGGER failing")
        other.close()
        await fill(store, 10, 10)
        await eventually(lambda: count(path, "journal") == 0)
        await check(store, 20)


async def test_journal_is_folded_after_a_kill(
    path: Path,
) -> None:
    confirmed = fill_and_kill(path, 1 << 30, 500)
    assert count(path, "messages") == 0
    async with opened(path, fold_bytes=NEVER) as store:
        assert count(path, "journal") == 0
        await check(store, confirmed)
        sent = [message("room 0", key="0"), message("room 0", key="x")]
        repeated, fresh = await store.append(sent)
        assert repeated is not sent[0]
        assert repeated.seq == 1
        assert fresh is sent[1]


@pytest.mark.parametrize("number", [400, 530, 660, 790, 920, 1050])
async def test_kill_while_folding_loses_nothing(path: Path, number: int) -> None:
    confirmed = fill_and_kill(path, 20_000, number)
    async with opened(path, fold_bytes=NEVER) as store:
        await check(store, confirmed)


async def test_full_disk_while_folding_loses_nothing(path: Path) -> None:
    async with opened(path, fold_bytes=NEVER) as store:
        await fill(store, 0, 1000)
    store = await open_store(path, fold_bytes=NEVER)
    await fill(store, 1000, 1000)
    # The write-ahead log cannot grow, so nothing can be folded.
    size = max(each.stat().st_size for each in (path, path.with_name(f"{path.name}-wal")))
    with no_file_grows_past(size), capture_logs() as logs:
        await store.close()
    assert [line["event"] for line in logs] == ["journal not folded"]
    assert count(path, "history") == 2000
    async with opened(path, fold_bytes=NEVER) as store:
        await check(store, 2000)
