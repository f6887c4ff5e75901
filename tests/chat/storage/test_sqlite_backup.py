"""Backups of a database in use, and restored databases."""

import asyncio
import re
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from chat.storage.base import StoreUnusable
from chat.storage.sqlite import SqliteStore
from chat.storage.sqlite.backup import back_up, restore
from tests.chat.storage.files import execute, opened, rows
from tests.chat.storage.filler import COMMIT, ROOMS, fill
from tests.kit.processes import Ended, run
from tests.support import message

# So few that journal and table are never empty.
FOLD_BYTES = 20_000


def folding(path: Path) -> AbstractAsyncContextManager[SqliteStore]:
    return opened(path, fold_bytes=FOLD_BYTES)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A path without a file."""
    return tmp_path / "target.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with folding(path) as store:
        await fill(store, 0, 500)
        yield store


@pytest.fixture
async def copy(store: SqliteStore, path: Path) -> Path:  # noqa: ARG001 - it has the file open
    """A backup of the database of a running store."""
    copy = path.with_name("copy.db")
    await asyncio.to_thread(back_up, path, copy)
    return copy


def ids(path: Path) -> dict[int, list[str]]:
    """The message ids of each room, by position, as an SQL tool reads them."""
    found: dict[int, list[str]] = {room: [] for room in range(ROOMS)}
    for room_id, seq, key in rows(
        path, "SELECT room_id, seq, id FROM history ORDER BY room_id, seq"
    ):
        room = found[int(str(room_id).removeprefix("room "))]
        room.append(str(key))
        assert seq == len(room)
    return found


def beginning(number: int) -> dict[int, list[str]]:
    """The ids of the first messages that `fill` stores."""
    return {room: [str(key) for key in range(room, number, ROOMS)] for room in range(ROOMS)}


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def damage(path: Path) -> None:
    """Overwrites a page of the table of messages."""
    content = bytearray(path.read_bytes())
    page = content.rfind(b"hello") // 4096 * 4096
    content[page : page + 100] = b"\xff" * 100
    path.write_bytes(content)


async def test_backup_under_load_holds_confirmed_messages(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    confirmed = 500
    done = asyncio.Event()

    async def go_on() -> None:
        nonlocal confirmed
        while not done.is_set():
            await fill(store, confirmed, COMMIT)
            confirmed += COMMIT

    load = asyncio.create_task(go_on())
    for nth in range(20):
        before = confirmed
        target = tmp_path / f"{nth}.db"
        await asyncio.to_thread(back_up, path, target)
        found = ids(target)
        number = sum(map(len, found.values()))
        assert before <= number <= confirmed + COMMIT
        assert found == beginning(number)
    done.set()
    await load
    assert confirmed > 500


async def test_server_serves_from_a_backup(store: SqliteStore, copy: Path) -> None:
    async with folding(copy) as copied:
        assert copied.epoch == store.epoch
        sent = [message("room 3", key="3"), message("room 3", key="new")]
        [again] = await copied.append(sent[:1])
        assert again is not sent[0]
        assert again.seq == 1
        [new] = await copied.append(sent[1:])
        assert new is sent[1]
        assert new.seq == await store.last_seq("room 3") + 1


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_backup_is_one_private_file(path: Path, copy: Path) -> None:
    in_use = {f"chat.db{suffix}" for suffix in ("", "-shm", "-wal", ".lock")}
    assert files(path.parent) == in_use | {"copy.db"}
    assert mode(copy) == 0o600
    assert ids(copy) == beginning(500)
    assert files(path.parent) == in_use | {"copy.db"}


async def test_backup_needs_no_server(path: Path, target: Path) -> None:
    async with folding(path) as store:
        await fill(store, 0, 500)
    back_up(path, target)
    assert ids(target) == beginning(500)
    assert files(path.parent) == {"chat.db", "chat.db.lock", "target.db"}


async def test_restored_database_has_a_new_epoch(
    store: SqliteStore, copy: Path, tmp_path: Path
) -> None:
    epochs = {store.epoch}
    for nth in range(2):
        target = tmp_path / f"folder {nth}" / "chat.db"
        restore(copy, target)
        assert ids(target) == beginning(500)
        async with folding(target) as restored:
            epochs.add(restored.epoch)
    assert len(epochs) == 3


@pytest.mark.parametrize("make", [back_up, restore])
async def test_backup_and_restore_overwrite_nothing(
    copy: Path, make: Callable[[Path, Path], None]
) -> None:
    kept = copy.with_name("kept.db")
    kept.write_bytes(b"kept")
    with pytest.raises(StoreUnusable, match=r"kept\.db exists"):
        make(copy, kept)
    assert kept.read_bytes() == b"kept"


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_restore_refuses_remains_of_another(copy: Path, suffix: str) -> None:
    copy.with_name(f"new.db{suffix}").touch()
    with pytest.raises(StoreUnusable, match=rf"new\.db{suffix} exists"):
        restore(copy, copy.with_name("new.db"))


async def test_restore_refuses_a_database_in_use(path: Path, copy: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"chat.db{suffix}").rename(path.with_name(f"away{suffix}"))
    with pytest.raises(StoreUnusable, match="another server has it open"):
        restore(copy, path)


async def test_concurrent_backups_do_not_collide(copy: Path, target: Path) -> None:
    partial = target.with_name("target.db.partial")
    partial.write_bytes(b"another")
    with pytest.raises(StoreUnusable, match=r"target\.db\.partial exists"):
        back_up(copy, target)
    assert partial.read_bytes() == b"another"
    assert "target.db" not in files(target.parent)


async def test_damaged_database_is_not_backed_up(path: Path, target: Path) -> None:
    async with folding(path) as store:
        await fill(store, 0, 500)
    damage(path)
    before = files(path.parent)
    with pytest.raises(StoreUnusable, match=r"damaged|malformed"):
        back_up(path, target)
    assert files(path.parent) == before


async def test_other_files_are_refused(path: Path, target: Path) -> None:
    another, text = path.with_name("another.db"), path.with_name("text")
    execute(another, "CREATE TABLE notes (text)")
    text.write_text("not a database" * 100)
    before = files(path.parent)
    for source in (another, text, path.with_name("missing"), path.parent):
        for make in (back_up, restore):
            with pytest.raises(StoreUnusable) as refused:
                make(source, target)
            assert re.fullmatch(rf".*{re.escape(str(source))}.*", str(refused.value))
    assert files(path.parent) - before == {"target.db.lock"}


async def test_backup_and_restore_commands(copy: Path, target: Path) -> None:
    new = copy.with_name("new.db")
    assert await run("chat.commands.backup", str(copy), str(target)) == Ended(
        0, f"backup written: {target}\n", ""
    )
    assert await run("chat.commands.restore", str(target), str(new)) == Ended(
        0, f"database restored: {new}\n", ""
    )
    assert ids(new) == ids(target) == beginning(500)
    for module, source, taken in (("backup", copy, target), ("restore", target, new)):
        command = f"chat.commands.{module}"
        refused = await run(command, str(source), str(taken))
        assert (refused.status, refused.output) == (1, "")
        assert re.fullmatch(f"python -m {command}: .*{taken} exists.*\n", refused.errors)


async def test_unwritable_target_is_named(copy: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot write /proc/copy"):
        back_up(copy, Path("/proc/copy.db"))
    with pytest.raises(StoreUnusable, match="cannot write /proc/copy"):
        restore(copy, Path("/proc/copy/chat.db"))
