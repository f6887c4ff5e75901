"""Created files are private to their owner, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from chat.storage.sqlite.backup import back_up, restore
from hosting.private import make_folder
from tests.kit.processes import run
from tests.support import message


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Names of files and folders that others may read, write or enter."""
    return [str(each) for each in folder.rglob("*") if stat.S_IMODE(each.stat().st_mode) & 0o077]


async def test_databases_and_copies_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "chat.db"
    store = await SqliteStore.open(str(path), Listener(), 1024)
    await store.append([message(key="1")])
    names = {each.name for each in path.parent.iterdir()}
    assert names == {"chat.db", "chat.db-wal", "chat.db-shm", "chat.db.lock"}
    back_up(path, path.with_name("copy.db"))
    restore(path.with_name("copy.db"), tmp_path / "c" / "d" / "chat.db")
    assert open_to_others(tmp_path) == []
    await store.close()
    assert open_to_others(tmp_path) == []


async def test_keys_and_tokens_are_private(tmp_path: Path) -> None:
    key, token = tmp_path / "a" / "b" / "key.pem", tmp_path / "c" / "d" / "token"
    options = ("--subject", "ada", "--key", str(key), "--output", str(token))
    assert (await run("chat.commands.token", *options)).status == 0
    assert {each.name for each in key.parent.iterdir()} == {"key.pem", "key.pem.jwks"}
    assert token.exists()
    assert open_to_others(tmp_path) == []


def test_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir(0o755)
    make_folder(there / "a")
    make_folder(there / "a")
    assert stat.S_IMODE(there.stat().st_mode) == 0o755
    assert stat.S_IMODE((there / "a").stat().st_mode) == 0o700


async def test_world_readable_database_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    await (await SqliteStore.open(str(path), Listener(), 1024)).close()
    path.chmod(0o644)
    with capture_logs() as logs:
        await (await SqliteStore.open(str(path), Listener(), 1024)).close()
    assert [line["event"] for line in logs] == ["everybody on this machine may read the database"]
