"""One server per database file, whatever name it is opened by."""

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chat.storage.base import Range, StoreError, StoreUnusable
from chat.storage.health import State
from chat.storage.sqlite.backup import back_up, restore
from tests.chat.storage.files import open_files, open_store, opened
from tests.chat.storage.filler import fill
from tests.support import eventually, message, seqs

ON_LINUX = pytest.mark.skipif(
    not hasattr(fcntl, "F_OFD_SETLK"), reason="this system has no locks of open files"
)

Naming = Callable[[Path], Path]
"""Gives the open database a second name, or frees its old one."""


def same(path: Path) -> Path:
    return path


def symbolic_link(path: Path) -> Path:
    other = path.with_name("symbolic.db")
    other.symlink_to(path)
    return other


def link_to_a_link(path: Path) -> Path:
    other = path.with_name("twice.db")
    other.symlink_to(symbolic_link(path).name)
    return other


def linked_folder(path: Path) -> Path:
    folder = path.parent.with_name("linked")
    folder.symlink_to(path.parent)
    return folder / path.name


def hard_link(path: Path) -> Path:
    other = path.with_name("hard.db")
    other.hardlink_to(path)
    return other


def hard_link_elsewhere(path: Path) -> Path:
    other = path.parent.with_name("elsewhere") / "other.db"
    other.parent.mkdir()
    other.hardlink_to(path)
    return other


def lock_removed(path: Path) -> Path:
    path.with_name(f"{path.name}.lock").unlink()
    return path


def roundabout(path: Path) -> Path:
    return path.parent / ".." / path.parent.name / path.name


NAMINGS = [
    same,
    symbolic_link,
    link_to_a_link,
    linked_folder,
    roundabout,
    *(pytest.param(each, marks=ON_LINUX) for each in (hard_link, hard_link_elsewhere)),
    pytest.param(lock_removed, marks=ON_LINUX),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "chat.db"


def open_elsewhere(path: Path) -> str:
    """Opens a database in another process; returns the last line of its output."""
    script = (
        "import asyncio, sys\n"
        "from chat.storage.listener import Listener\n"
        "from chat.storage.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = await SqliteStore.open(sys.argv[1], Listener(print), 1024)\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(  # noqa: S603 - of this test
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    return done.stderr.strip().rpartition("\n")[2]


def read_elsewhere(path: Path) -> None:
    """Reads a database in another process, which would clean up if it were the only one."""
    script = (
        "import sys, apsw\n"
        "connection = apsw.Connection(sys.argv[1])\n"
        "connection.execute('SELECT count(*) FROM journal').get\n"
        "connection.close()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)  # noqa: S603 - likewise


@pytest.mark.parametrize("naming", NAMINGS)
async def test_second_server_is_refused_by_any_name(path: Path, naming: Naming) -> None:
    async with opened(path) as first:
        await fill(first, 0, 100)
        other = naming(path)
        before = open_files()
        with pytest.raises(StoreUnusable, match="another server has it open") as refused:
            await open_store(other)
        assert str(other) in str(refused.value)
        assert open_files() == before
        assert "another server has it open" in open_elsewhere(other)
        # SQLite's locks of this process still hold: another reader removes nothing.
        read_elsewhere(path)
        assert path.with_name("chat.db-wal").exists()
        await fill(first, 100, 100)
    async with opened(path) as again:
        assert await again.last_seq("room 0") == len(range(0, 200, 7))


@pytest.mark.parametrize("naming", [symbolic_link, linked_folder])
async def test_log_is_found_by_a_symbolic_link(path: Path, naming: Naming) -> None:
    other = naming(path)
    async with opened(other) as store:
        await store.append([message(key="1")])
        assert path.with_name("chat.db-wal").exists()
    async with opened(path) as store:
        assert await store.last_seq("room") == 1


async def test_removed_lock_file_is_recreated(path: Path) -> None:
    async with opened(path) as store:
        lock = path.with_name("chat.db.lock")
        with capture_logs() as logs:
            lock.unlink()
            await eventually(lock.exists)
            await eventually(lambda: logs)
        assert [line["log_level"] for line in logs] == ["warning"]
        assert store.health.is_serving
        await store.append([message(key="1")])
        assert "another server has it open" in open_elsewhere(path)


async def test_store_without_its_claim_stores_nothing(path: Path) -> None:
    """As after `rm chat.db*` and the start of another server."""
    async with opened(path) as store:
        await store.append([message(key="1")])
        with capture_logs() as logs:
            for each in path.parent.iterdir():
                each.unlink()
            other = await open_store(path)
            await eventually(lambda: store.health.state is State.FATAL)
            with pytest.raises(StoreError):
                await store.append([message(key="2")])
        assert "another process has taken" in store.health.reason
        errors = [line["event"] for line in logs if line["log_level"] == "error"]
        assert errors[-1] == "store failed"
        await other.append([message(key="3")])
    await other.append([message(key="4")])
    await other.close()
    async with opened(path) as other:
        page = await other.history("room", Range(10))
        assert [(each.id, each.seq) for each in page.messages] == [("3", 1), ("4", 2)]


async def test_restore_refuses_a_path_claimed_by_link(path: Path) -> None:
    async with opened(path):
        copy = path.with_name("copy.db")
        back_up(path, copy)
    for each in path.parent.glob("chat.db*"):
        each.unlink()
    other = symbolic_link(path)
    async with opened(other):
        with pytest.raises(StoreUnusable, match="exists"):
            restore(copy, path)


@ON_LINUX
async def test_backup_refuses_a_name_without_log(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message(key="1")])
        target = path.with_name("target.db")
        with pytest.raises(StoreUnusable, match="hard links"):
            back_up(hard_link(path), target)
        back_up(path, target)
    async with opened(target) as copy:
        assert seqs((await copy.history("room", Range(5))).messages) == [1]


async def test_hard_links_are_warned_about(path: Path) -> None:
    await (await open_store(path)).close()
    hard_link(path)
    with capture_logs() as logs:
        await (await open_store(path)).close()
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "hard links" in logs[0]["event"]
