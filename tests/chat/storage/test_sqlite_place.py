"""Files deleted, replaced or moved under an open store: no message is confirmed into them."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chat.storage.base import Range, StoreError
from chat.storage.health import State
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage
from tests.chat.storage.files import full_disk, opened
from tests.support import eventually, message, seqs, told

Change = Callable[[Path], Path]
"""Changes the files; returns the one that the log must name."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "real"
    folder.mkdir()
    (tmp_path / "data").symlink_to("real")
    return folder / "chat.db"


@pytest.fixture
async def store(path: Path, announced: list[ChatMessage]) -> AsyncIterator[SqliteStore]:
    async with opened(named(path), Listener(announced.extend)) as store:
        await store.append([message(key=str(n)) for n in range(1, 51)])
        yield store


def named(path: Path) -> Path:
    """The database path as given to the store: by a link to its folder."""
    return path.parent.with_name("data") / path.name


def side(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def delete_all(path: Path) -> Path:
    for suffix in ("", "-wal", "-shm", ".lock"):
        side(path, suffix).unlink()
    return path


def delete_folder(path: Path) -> Path:
    shutil.rmtree(path.parent)
    return path


def delete_database(path: Path) -> Path:
    path.unlink()
    return path


def move_over(path: Path) -> Path:
    copy = side(path, ".new")
    shutil.copy(path, copy)
    copy.replace(path)
    return path


def move_folder(path: Path) -> Path:
    path.parent.rename(path.parent.with_name("moved"))
    return path


AT_ONCE = [delete_all, delete_folder, delete_database, move_over, move_folder]


def delete_log(path: Path) -> Path:
    side(path, "-wal").unlink()
    return side(path, "-wal")


def replace_log(path: Path) -> Path:
    log = side(path, "-wal")
    return move_over(log)


def delete_index(path: Path) -> Path:
    side(path, "-shm").unlink()
    return side(path, "-shm")


def change_link(path: Path) -> Path:
    link = named(path).parent
    link.unlink()
    link.symlink_to("elsewhere")
    return link / path.name


SOON = [delete_log, replace_log, delete_index, change_link]


@pytest.mark.parametrize("change", AT_ONCE)
async def test_next_commit_notices_lost_files(
    store: SqliteStore, path: Path, announced: list[ChatMessage], change: Change
) -> None:
    with capture_logs() as logs:
        missing = change(path)
        for key in ("51", "52"):
            with pytest.raises(StoreError):
                await store.append([message(key=key)])
        with pytest.raises(StoreError):
            await store.upsert_user("bob", "Bob", "")
    assert store.health.state is State.REFUSING
    assert str(missing) in store.health.reason
    assert "restore a backup" in store.health.reason
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "store refuses writes")
    ]
    assert seqs(announced) == list(range(1, 51))
    # Confirmed messages can still be read through the open file.
    assert seqs((await store.history("room", Range(3))).messages) == [48, 49, 50]


@pytest.mark.parametrize("change", [*AT_ONCE, *SOON])
async def test_idle_store_notices_lost_files(
    store: SqliteStore, path: Path, change: Change
) -> None:
    with capture_logs():
        missing = change(path)
        await eventually(lambda: not store.health.is_serving)
        with pytest.raises(StoreError):
            await store.append([message(key="51")])
    assert store.health.state is State.REFUSING
    assert str(missing) in store.health.reason


def away(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        side(path, suffix).rename(side(path, f"{suffix}.away"))


def back(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        side(path, f"{suffix}.away").rename(side(path, suffix))


async def test_store_resumes_with_its_files(
    store: SqliteStore, path: Path, announced: list[ChatMessage]
) -> None:
    """No position is missing, though commits were made while the files were away."""
    with capture_logs() as logs:
        away(path)
        for key in ("51", "52", "53"):
            with pytest.raises(StoreError):
                await store.append([message(key=key)])
        back(path)
        await eventually(lambda: store.health.is_serving)
    assert [line["log_level"] for line in logs] == ["error", "info"]
    stored = await store.append([message(key=key) for key in ("53", "51", "54")])
    assert [(each.id, each.seq) for each in stored] == [("53", 52), ("51", 51), ("54", 53)]
    assert seqs(announced) == list(range(1, 54))
    assert seqs((await store.history("room", Range(100))).messages) == list(range(1, 54))


async def test_commit_succeeds_once_files_are_back(
    store: SqliteStore, path: Path, announced: list[ChatMessage]
) -> None:
    with capture_logs():
        away(path)
        with pytest.raises(StoreError):
            await store.append([message(key="51")])
        back(path)
        [stored] = await store.append([message(key="52")])
    assert (stored.seq, store.health.state) == (52, State.SERVING)
    assert seqs(announced) == list(range(1, 53))


async def test_contents_of_a_deleted_log_are_saved(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    with capture_logs():
        delete_log(path)
        # Commits may succeed until the loss is noticed.
        confirmed = 50
        for key in range(51, 1000):
            try:
                await store.append([message(key=str(key))])
            except StoreError:
                break
            confirmed = key
        await eventually(lambda: not store.health.is_serving)
    # As after `kill -9`.
    after = tmp_path / "after.db"
    shutil.copy(path, after)
    async with opened(after) as again:
        assert await again.last_seq("room") == confirmed


async def test_replacing_database_is_left_alone(path: Path) -> None:
    """A closing store cleans up, but not another database in its place."""
    store = await SqliteStore.open(str(path), Listener(), 1 << 20)
    await store.append([message(key="1")])
    other = path.with_name("other.db")
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(side(path, suffix), side(other, suffix))
    with capture_logs():
        for suffix in ("", "-wal", "-shm"):
            side(other, suffix).replace(side(path, suffix))
        with pytest.raises(StoreError):
            await store.append([message(key="51")])
        before = {suffix: side(path, suffix).read_bytes() for suffix in ("", "-wal")}
        await store.close()
    assert {suffix: side(path, suffix).read_bytes() for suffix in ("", "-wal")} == before


async def test_failed_commits_refuse_writes_until_one_succeeds(
    store: SqliteStore, path: Path
) -> None:
    """Recovery needs no further sender."""
    with capture_logs() as logs:
        with full_disk(path):
            for key in ("51", "52", "53"):
                with pytest.raises(StoreError):
                    await store.append([message(key=key)])
            assert store.health.state is State.REFUSING
            assert "full disk" in store.health.reason
        await eventually(lambda: store.health.is_serving)
    assert [line["event"] for line in told(logs)] == [
        "commit failed",
        "store refuses writes",
        "store takes writes again",
    ]
