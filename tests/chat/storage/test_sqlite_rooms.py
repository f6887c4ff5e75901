"""Rooms that are set, in SQLite: the file, older files, crashes, many marks, damage."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

import codec
from chat.storage.base import Range, StoreError
from chat.storage.changes import Change
from chat.storage.listener import Head
from chat.storage.rooms import room_of
from chat.storage.sqlite import SqliteStore, room_reader
from chat.storage.sqlite.export import Source
from gen.chat import ChangeMessageRequest, ChatMessage, Room
from tests.chat.storage.files import FIRST, execute, make_old, opened, rows
from tests.support import message


async def last_messages(store: SqliteStore, *room_ids: str) -> list[str]:
    rows = await store.room_rows(room_ids, "")
    return ["" if row.last_message is None else row.last_message.content for row in rows]


async def test_plain_messages_of_a_room_that_is_set_stay_plain(path: Path) -> None:
    """Pages of it are read as cheaply as before."""
    async with opened(path) as store:
        await store.set_room(Room("room", "Title"), None)
        await store.append([message("room", key=str(n)) for n in range(3)])
        assert (await store.history("room", Range(5))).last_change == 1
    assert rows(path, "SELECT changes, beside FROM rooms") == [(1, 0)]
    [(position, change, content, extra)] = rows(
        path, "SELECT position, change, content, extra FROM states"
    )
    assert (position, change, content, extra) == (FIRST, FIRST | 1, "Title", None)
    assert rows(path, "SELECT count(*) FROM history") == [(3,)]


async def test_file_of_version_3(path: Path) -> None:
    make_old(
        path,
        3,
        "INSERT INTO rooms (room, room_id) VALUES (1, 'room');"
        "INSERT INTO marks VALUES ('ben', 1, 1), ('ada', 1, 0)",
    )
    async with opened(path) as store:
        assert await store.members("room", "", 9) == ["ada", "ben"]
        assert await last_messages(store, "room") == ["one"]
        assert (await store.set_room(Room("room", "Title"), 0)).change == 1
        assert await store.follow("room") == Head(1, 1)


async def test_what_was_set_survives_a_crash(path: Path) -> None:
    copy = path.with_name("crashed.db")
    async with opened(path) as store:
        await store.append([message("room", "in the journal")])
        await store.change(Change(ChangeMessageRequest("room", 1, "ada", content="edited")))
        await store.set_room(Room("room", "Title"), None)
        await store.set_room(Room("empty", "Empty"), None)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    async with opened(copy) as store:
        changes, _ = await store.changes("room", 0, 9)
        assert [each.content for each in changes.messages] == ["edited"]
        assert room_of(changes) == Room("room", "Title", change=2)
        assert await last_messages(store, "room", "empty") == ["edited", ""]
        assert (await store.room_ids("", 9, "EMPTY", "")).ids == ["empty"]


async def test_newest_message_wherever_it_is(path: Path) -> None:
    async with opened(path, fold_bytes=300) as store:
        for number in range(30):
            for room_id in ("a", "b"):
                await store.append([message(room_id, f"{room_id}{number}", key=str(number))])
            assert await last_messages(store, "a", "b", "c") == [f"a{number}", f"b{number}", ""]


async def test_user_with_many_marks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms are looked at in their order then, some at a time; so they are in a search."""
    monkeypatch.setattr(room_reader, "_LOOK", 5)
    ids = [f"r{number:02}" for number in range(23)]
    async with opened(path) as store:
        await store.append([message(room_id) for room_id in ids])
        await store.set_room(Room("r22", "The last"), None)
        for room_id in ids[::2]:
            await store.mark("ben", room_id, 1, back=False)
        await store.mark("ada", "r22", 1, back=False)

        async def listed(query: str, marked_by: str, limit: int) -> tuple[list[str], int]:
            found: list[str] = []
            after, calls = "", 0
            while True:
                some, after = await store.room_ids(after, limit, query, marked_by)
                assert len(some) <= limit
                found += some
                calls += 1
                if not after:
                    return found, calls

        assert await listed("", "ben", 9) == (ids[::2], 5)
        assert await listed("", "ben", 1) == (ids[::2], 12)
        assert await listed("LAST", "ben", 9) == (["r22"], 5)
        assert await listed("last", "", 9) == (["r22"], 5)
        # Few marks are found at once.
        assert await listed("", "ada", 9) == (["r22"], 1)


async def test_old_title_is_to_be_scrubbed(path: Path) -> None:
    since = "SELECT count(*) FROM meta WHERE key = 'scrub_since'"
    async with opened(path) as store:
        await store.append([message("room")])
        assert rows(path, since) == [(0,)]
        await store.set_room(Room("room", "Title"), None)
        assert rows(path, since) == [(1,)]


async def test_damaged_row(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message("room"), message("other")])
        await store.set_room(Room("room", "Title"), None)
    execute(path, "UPDATE states SET state = x'ffff'")
    async with opened(path) as store:
        with pytest.raises(StoreError):
            await store.room_rows(["room"], "")
        with pytest.raises(StoreError):
            await store.set_room(Room("room", "New"), None)
        # Others are not harmed.
        assert await last_messages(store, "other") == ["hello"]
        assert (await store.set_room(Room("other", "New"), None)).change == 1
        sent: list[ChatMessage] = await store.append([message("room", key="2")])
        assert sent[0].seq == 2


async def test_exported_apart_from_messages(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message("room")])
        await store.change(Change(ChangeMessageRequest("room", 1, "ada", content="new")))
        known = [
            await store.set_room(Room("room", "Title"), None),
            await store.set_room(Room("empty", "Empty"), None),
        ]
    with ExitStack() as undo:
        source = Source.open(path, undo)
        assert [each.seq for each in source.states()] == [1]
        infos = list(source.infos())
        assert [codec.decode(Room, each.info) for each in infos] == known
        assert [source.rooms[each.room] for each in infos] == ["room", "empty"]
        assert [source.changes[each.room] for each in infos] == [2, 1]
