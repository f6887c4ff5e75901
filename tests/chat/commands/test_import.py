"""``python -m chat.commands.import_sqlite``: from one file to PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import chat
import proxy
from chat.commands.import_sqlite import bring
from chat.storage.base import Range, Store, StoreUnusable
from chat.storage.changes import Change
from chat.storage.listener import Listener
from chat.storage.postgres import PostgresStore
from chat.storage.postgres.maintenance import open_database
from chat.storage.sqlite.backup import back_up
from chat.storage.sqlite.export import Source
from gen.chat import ChangeMessageRequest, ChatMessage, Delete, MessageExtra, Room, User
from tests.chat.storage.files import execute, opened, rows
from tests.chat.storage.postgres.nodes import opened as opened_there
from tests.faults.world import choose_seed
from tests.kit.ports import free_ports
from tests.kit.postgres import Postgres
from tests.kit.processes import run, running
from tests.proxy.web_client import Client, seqs, serve_http
from tests.proxy.web_client import message as frame
from tests.support import PATIENCE_SECONDS, eventually, message

ROOMS = 7
MESSAGES = 300
_UNUSED = "SELECT count(*) = 0 FROM chat.nodes WHERE alive_until > clock_timestamp()"
# The file is looked at first.
NOWHERE = "postgresql://ada@127.0.0.1:1/chat"


async def fill(store: Store, numbers: range) -> None:
    for first in numbers[::10]:
        await store.append(
            [
                message(
                    f"room {key % ROOMS}",
                    f"Zoë \N{SNOWMAN} {key}\n",
                    sender_id=f"user {key % 3}",
                    key=str(key),
                )
                for key in range(first, first + 10)
            ]
        )
    await store.upsert_user("user 1", "Ada Lovelace", "ada@example.com", 5)
    await store.upsert_user("idle", "Nobody", "")


async def content(store: Store) -> tuple[list[ChatMessage], list[User]]:
    """All that a store has."""
    found = []
    for room in range(ROOMS):
        page = await store.history(f"room {room}", Range(MESSAGES, after_seq=0))
        assert not page.has_more
        found += page.messages
    return found, await store.list_users("", 100)


async def is_that_of(path: Path, new: Store) -> None:
    """Checks that a store has the history and the users of a file."""
    async with opened(path) as old:
        assert new.epoch == old.epoch
        assert await content(new) == await content(old)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, part of whose messages is in the journal."""
    folder = tmp_path_factory.mktemp("made")

    async def make() -> None:
        async with opened(folder / "live.db") as store:
            await fill(store, range(MESSAGES // 2))
        async with opened(folder / "live.db") as store:
            await fill(store, range(MESSAGES // 2, MESSAGES))
            await change(store, "room 1", 1, "user 1", content="edited")
            await change(store, "room 2", 1, "user 2", delete=Delete())
            for user in ("user 0", "user 1"):
                await change(store, "room 3", 1, user, react="x")
            await asyncio.to_thread(back_up, folder / "live.db", folder / "chat.db")

    asyncio.run(make())
    path = folder / "chat.db"
    for table in ("messages", "journal"):
        assert rows(path, f"SELECT * FROM {table} LIMIT 1")  # noqa: S608 - ours
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(made, tmp_path))


async def import_file(path: Path, url: str, most: int = 20, statements: int | None = None) -> str:
    """Imports a file.

    Args:
        path: the file.
        url: the database.
        most: see `bring`.
        statements: after so many, the server ends the connection, if they are fewer than all.
    """
    with ExitStack() as undo:
        source = Source.open(path, undo)
        async with open_database(url) as connection:
            left = itertools.count(statements or 0, -1)

            def end(_: object) -> None:
                if next(left) == 1:
                    os.kill(connection.get_server_pid(), signal.SIGTERM)

            connection.add_query_logger(end)
            return await bring(source, connection, most)


async def refusal(path: Path, url: str) -> str:
    with pytest.raises(StoreUnusable) as refused:
        await import_file(path, url)
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_history_goes_on(path: Path, postgres_url: str) -> None:
    before = await asyncio.to_thread(path.read_bytes)
    assert await import_file(path, postgres_url) == (
        f"imported {MESSAGES} messages of {ROOMS} rooms, and 4 users"
    )
    assert await asyncio.to_thread(path.read_bytes) == before
    async with opened_there(postgres_url) as new:
        await is_that_of(path, new)
        # Sent again it is what it was; what is new stands behind it.
        [repeated] = await new.append([message("room 3", "again", sender_id="user 0", key="3")])
        assert (repeated.seq, repeated.content) == (1, "Zoë \N{SNOWMAN} 3\n")
        last = await new.last_seq("room 3")
        [stored] = await new.append([message("room 3", key="new")])
        assert stored.seq == last + 1
        [stored] = await new.append([message("another room", key="new")])
        assert stored.seq == 1


async def test_what_became_of_messages_goes_on(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "chat.db"

    async def seen(store: Store) -> object:
        ids, _ = await store.room_ids("", 9, "", "")
        pages = [await store.history(room, Range(99)) for room in ids]
        changes = [await store.changes(room, 0, 99) for room in ids]
        listed = ids, await store.room_rows(ids, "ben"), await store.members("a", "", 9)
        rows = await store.reactions("a", 3, "", None, 9)
        marks = [await store.mark("ben", room, 0, back=False) for room in "ab"]
        return pages, changes, listed, rows, marks, await store.erasures()

    async with opened(path) as old:
        await old.append([message("a", key=str(key)) for key in range(30)])
        sent = message("b", key="1")
        sent.extra = MessageExtra(mentions=["ben", "cy"], data="\0")
        await old.append([sent, message("b", key="2")])
        await old.append([message("c", key="1")])
        await change(old, "a", 1, content="edited")
        await change(old, "a", 2, delete=Delete())
        for user in ("ada", "ben"):
            await change(old, "a", 3, user, react="\N{THUMBS UP SIGN}")
        await old.mark("ben", "a", 7, back=False)
        await old.set_room(Room("a", "Title", "Topic"), None)
        await old.set_room(Room("empty", "Nobody wrote here"), None)
        await old.set_room(Room("empty", "Nobody wrote here yet"), None)
        assert not (await old.erase("cy", 1)).messages
        await old.append([message("c", sender_id="dan", key=str(key)) for key in range(3)])
        assert not (await old.erase("dan", 1)).done
        before = await seen(old)
    done = await import_file(path, postgres_url, most=3)
    assert done == "imported 36 messages of 4 rooms, and 1 users"
    async with opened_there(postgres_url) as new:
        assert await seen(new) == before
        # Numbers go on, and so does the erasure.
        await change(new, "a", 3, react="x")
        assert (await new.history("a", Range(1))).last_change == 6
        assert await new.set_room(Room("empty"), 2) == Room("empty", change=3)
        while not (erased := await new.erase("dan", 5)).done:
            pass
        assert erased.messages == 2


async def change(store: Store, room: str, seq: int, user: str = "ada", **wish: Any) -> None:
    await store.change(Change(ChangeMessageRequest(room, seq, user, **wish)))


async def test_killed_import_goes_on(path: Path, postgres_url: str) -> None:
    """Its connection is cut at random points, until it gets through.

    Between statements, of which there are more than at first; and within them, at some time.
    """
    chance = random.Random(choose_seed())  # noqa: S311 - no secret
    cuts = 0
    connection = await asyncpg.connect(postgres_url)
    while True:
        # Later and later, until it is late enough for this machine.
        later = 1.1**cuts
        statements = round(chance.uniform(1, 60) * later)
        importing = import_file(path, postgres_url, most=5, statements=statements)
        task = asyncio.create_task(importing)
        await asyncio.wait([task], timeout=chance.uniform(0.02, 0.06) * later)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        try:
            await task
            break
        except StoreUnusable:
            cuts += 1
        assert cuts < 100
        if await connection.fetchval("SELECT to_regclass('chat.meta')") and (
            await connection.fetchval("SELECT true FROM chat.meta WHERE key = 'importing'")
        ):
            with pytest.raises(StoreUnusable, match="an import into the database has not ended"):
                await PostgresStore.open(postgres_url, Listener(), 1 << 20)
    assert cuts
    await connection.close()
    async with opened_there(postgres_url) as new:
        await is_that_of(path, new)


async def test_process_is_killed_and_goes_on(
    path: Path, postgres: Postgres, postgres_url: str
) -> None:
    command = "chat.commands.import_sqlite"
    async with open_database(postgres_url) as connection, connection.transaction():
        # There it stops.
        await connection.execute("LOCK TABLE chat.messages IN SHARE MODE")
        async with running(command, str(path), postgres_url) as process:
            assert process.stderr is not None
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await process.stderr.readline() == b"4 users\n"
            process.kill()
        # Else its session would wait for the lock, and hold its own.
        name = postgres_url.rpartition("/")[2]
        others = "datname = $1 AND pid <> $2"
        await postgres.terminate(others, name, connection.get_server_pid())
        gone = f"SELECT count(*) = 0 FROM pg_stat_activity WHERE {others}"  # noqa: S608 - ours
        await postgres.until(gone, name, connection.get_server_pid())
    ended = await run(command, str(path), CHAT_DATABASE=postgres_url)
    assert ended.status == 0, ended.errors
    assert ended.output == f"imported {MESSAGES} messages of {ROOMS} rooms, and 4 users\n"
    assert f"{MESSAGES} of {MESSAGES} messages\n" in ended.errors or not ended.errors
    again = await run(command, str(path), postgres_url)
    assert again.status == 1
    assert again.errors.endswith("the database is not empty: import into a new one\n")


class TestRefusals:
    """Nothing is changed then."""

    async def test_file_in_use(self, path: Path) -> None:
        async with opened(path):
            assert "another server has it open" in await refusal(path, NOWHERE)

    @pytest.mark.parametrize("found", [b"", b"no database" * 100, None])
    async def test_no_database(self, tmp_path: Path, found: bytes | None) -> None:
        path = tmp_path / "other.db"
        if found is not None:
            path.write_bytes(found)
        assert str(path) in await refusal(path, NOWHERE)
        assert path.exists() == (found is not None)

    async def test_missing_message(self, path: Path, postgres_url: str) -> None:
        execute(
            path,
            "DELETE FROM messages WHERE position ="
            " (SELECT room << 32 | 3 FROM rooms WHERE room_id = 'room 1')",
        )
        assert "message 3 of room 'room 1' is missing" in await refusal(path, postgres_url)

    async def test_database_with_content(self, path: Path, postgres_url: str) -> None:
        async with opened_there(postgres_url) as store:
            await store.upsert_user("ada", "Ada", "")
        assert "the database is not empty" in await refusal(path, postgres_url)

    async def test_database_in_use(self, path: Path, postgres_url: str) -> None:
        async with opened_there(postgres_url):
            async with open_database(postgres_url) as connection:
                # Its first heartbeat is on its way.
                await eventually(lambda: connection.fetchval("SELECT count(*) FROM chat.nodes"))
            assert "a server uses the database" in await refusal(path, postgres_url)
        async with open_database(postgres_url) as connection:
            # It took its lease back, unless the database was slow to answer then.
            await eventually(lambda: connection.fetchval(_UNUSED))
        # It was opened, and nothing was stored.
        await import_file(path, postgres_url)

    async def test_import_of_another_file(self, path: Path, postgres_url: str) -> None:
        async with open_database(postgres_url) as connection:
            await connection.execute(
                "INSERT INTO chat.meta VALUES ('importing', '[\"another\", \"\", 0, 0]')"
            )
        assert "an import of another file" in await refusal(path, postgres_url)

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE chat.messages SET content = 'changed' WHERE seq = 5 AND sender_id = 'user 1'",
            "DELETE FROM chat.messages WHERE seq = 40",
            "INSERT INTO chat.users VALUES ('somebody', '', '')",
            "INSERT INTO chat.rooms (room, room_id) OVERRIDING SYSTEM VALUE VALUES (99, 'attic')",
        ],
    )
    async def test_other_content_is_found(
        self, path: Path, postgres_url: str, change: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from chat.storage.postgres.importing import Import

        compare = Import.compare

        async def change_and_compare(self: Import, sums: object) -> None:
            async with open_database(postgres_url) as connection:
                await connection.execute(change)
            await compare(self, sums)  # type: ignore[arg-type]  # it is what it takes

        monkeypatch.setattr(Import, "compare", change_and_compare)
        assert "something else wrote to the database" in await refusal(path, postgres_url)
        with pytest.raises(StoreUnusable, match="an import into the database has not ended"):
            await PostgresStore.open(postgres_url, Listener(), 1 << 20)


async def test_clients_resume(tmp_path: Path, postgres_url: str) -> None:
    """Their sockets stay open meanwhile, and positions mean what they meant."""
    [port] = free_ports(1)
    config = chat.Config(host="127.0.0.1", port=port, database=str(tmp_path / "chat.db"))
    upstream = proxy.Config(host="127.0.0.1", port=0, upstream=f"127.0.0.1:{port}")
    async with AsyncExitStack() as stack:
        async with chat.serve(config):
            http = await stack.enter_async_context(serve_http(upstream))
            ada = Client(await stack.enter_async_context(http.ws_connect("/")))
            joined = (await ada.ask(join={"room_id": "lobby"}))["joined"]
            for _ in range(3):
                await ada.ask(chat_message=frame("lobby"))
        await import_file(tmp_path / "chat.db", postgres_url)
        await stack.enter_async_context(chat.serve(replace(config, database=postgres_url)))
        # She is not told of another history.
        assert (await ada.ask(chat_message=frame("lobby")))["chat_message"]["seq"] == 4
        bob = Client(await stack.enter_async_context(http.ws_connect("/")))
        position = {"room_id": "lobby", "after_seq": 1, "epoch": joined["epoch"]}
        again = (await bob.ask(join=position))["joined"]
        assert again == {**joined, "last_seq": 4, "recovered": True}
        assert seqs(await bob.take(3)) == [2, 3, 4]
