"""What becomes of messages in SQLite: journal, fold, crash, migration, view, and failures."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from structlog.testing import capture_logs

from chat.storage.base import Range, StoreError
from chat.storage.changes import Change, is_deleted, state_of
from chat.storage.health import State
from chat.storage.listener import Head, Listener
from chat.storage.sqlite import SqliteStore
from chat.storage.sqlite.commits import Commits
from chat.storage.sqlite.fold import fold_leftovers
from chat.storage.sqlite.journal import Journal
from chat.storage.sqlite.schema import open_writer
from gen.chat import ChangeMessageRequest, ChatMessage, Delete, MessageExtra, RoomChanges
from tests.chat.storage.files import FIRST, execute, full_disk, make_old, opened, rows
from tests.support import message


def asked(seq: int = 1, room_id: str = "room", by: str = "ada", **change: Any) -> Change:
    return Change(ChangeMessageRequest(room_id, seq, by, **change))


async def texts(store: SqliteStore, room_id: str = "room") -> list[str]:
    """All texts of a room, read in one page, and one by one: by either reader."""
    page = await store.history(room_id, Range(1000))
    found = [each.content for each in page.messages]
    few = [await store.history(room_id, Range(1, after_seq=n)) for n in range(min(3, len(found)))]
    assert [each.messages[0].content for each in few] == found[: len(few)]
    return found


async def test_fold_does_not_bring_old_texts_back(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message(key=str(n), content=f"old {n}") for n in range(1, 4)])
        await store.change(asked(1, content="new"))
        await store.change(asked(2, delete=Delete()))
        assert "old 1" in rows(path, "SELECT batch FROM journal")[0][0]
        expected = ["new", "", "old 3"]
        assert await texts(store) == expected
        assert rows(path, "SELECT content FROM history ORDER BY seq") == [(t,) for t in expected]
        await store._settle()  # noqa: SLF001 - the erasure of a user does it
        assert rows(path, "SELECT content FROM messages") == [("",), ("",), ("old 3",)]
        assert await texts(store) == expected
        # Once more, where it is in the table.
        await store.change(asked(3, content="new 3"))
        await store.change(asked(1, content="newer"))
        assert rows(path, "SELECT DISTINCT content FROM messages") == [("",)]
        assert await texts(store) == ["newer", "", "new 3"]
    assert rows(path, "SELECT content FROM history ORDER BY seq") == [("newer",), ("",), ("new 3",)]


@pytest.mark.parametrize("where", ["in memory", "in the journal", "in the table"])
async def test_repeated_message_is_returned_as_it_stands(path: Path, where: str) -> None:
    async with opened(path) as store:
        await store.append([message(key="1"), message(key="2")])
        if where == "in the table":
            await store._settle()  # noqa: SLF001
        edited = await store.change(asked(1, content="new"))
        tombstone = await store.change(asked(2, delete=Delete()))
        if where == "in the journal":
            await store._settle()  # noqa: SLF001
        assert await store.append([message(key="1"), message(key="2")]) == [edited, tombstone]
        # In one commit with something new.
        extra = message(key="3")
        extra.extra = MessageExtra(data="x")
        again = await store.append([message(key="2"), extra])
        assert (again[0], again[1].seq) == (tombstone, 3)


class Stopped:
    """A writer without its thread, which may stop at any point."""

    def __init__(self, path: Path) -> None:
        self.connection = open_writer(str(path))
        fold_leftovers(self.connection)
        self.journal = Journal(self.connection, 1 << 30)
        self._commits = Commits(self.connection, self.journal, lambda: None)

    def store(self, messages: Sequence[ChatMessage], *changes: Change) -> None:
        commit = self._commits.store([messages], [], changes, has_extras=True)
        assert not [each for each in commit.answers if isinstance(each, Exception)]


async def test_crash_in_the_middle_of_a_fold(path: Path, tmp_path: Path) -> None:
    """Texts changed before the fold, in the middle of it, in rows that were folded and were not."""
    writer = Stopped(path)
    number = 1200  # three slices
    writer.store([message(key=str(n), content=f"old {n}") for n in range(1, number + 1)])
    writer.store([], asked(2, content="new 2"), asked(1190, delete=Delete()))
    expected = {2: "new 2", 1190: ""}
    for seqs in ([3, 1100], [4, 600]):
        assert not writer.journal.fold()
        writer.store([], *(asked(seq, content=f"new {seq}") for seq in seqs))
        expected |= {seq: f"new {seq}" for seq in seqs}
        crashed = tmp_path / f"crashed {seqs[0]}.db"
        shutil.copy(path, crashed)
        shutil.copy(f"{path}-wal", f"{crashed}-wal")
        await check(crashed, number, expected)
    assert writer.journal.fold()
    writer.connection.close()
    await check(path, number, expected)


async def check(path: Path, number: int, expected: dict[int, str]) -> None:
    async with opened(path) as store:
        page = await store.history("room", Range(2000, after_seq=0))
        assert [each.content for each in page.messages] == [
            expected.get(seq, f"old {seq}") for seq in range(1, number + 1)
        ]
        assert page.last_change == len(expected)
        assert await store.follow("room") == Head(number, len(expected))
    in_place = rows(path, "SELECT position & 0xffffffff FROM messages WHERE content = ''")
    assert {seq for (seq,) in in_place} == expected.keys()
    assert rows(path, "SELECT * FROM journal") == []


async def test_file_of_version_2_with_a_journal(path: Path) -> None:
    make_old(
        path, 2, "INSERT INTO rooms VALUES (1, 'room'); INSERT INTO users VALUES ('ada', 'ada', '')"
    )
    row = f'[[{FIRST + 2}, "ada", "2", 2, "two"]]'
    execute(path, "INSERT INTO journal (batch) VALUES (?)", row)
    async with opened(path) as store:
        assert store.epoch == "e"
        assert await texts(store) == ["one", "two"]
        assert (await store.history("room", Range(5))).last_change == 0
        await store.change(asked(1, content="new"))
        await store.change(asked(2, delete=Delete()))
        assert await texts(store) == ["new", ""]


async def test_plain_messages_leave_nothing_beside_them(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message(key=str(n)) for n in range(10)])
    for table in ("states", "reactions", "mentions", "marks", "erasures"):
        assert rows(path, f"SELECT * FROM {table}") == []  # noqa: S608 - no input
    assert rows(path, "SELECT changes, beside FROM rooms") == [(0, 0)]


async def test_first_change_while_pages_are_read(path: Path) -> None:
    """A page never shows an edited message without its text, nor less than it says."""
    rooms = [f"room {n}" for n in range(40)]
    async with opened(path) as store:
        for room_id in rooms:
            await store.append([message(room_id, key=str(n), content="old") for n in range(3)])
    async with opened(path) as store:

        async def read(room_id: str, done: asyncio.Event) -> None:
            while not done.is_set():
                page = await store.history(room_id, Range(10))
                assert {each.content for each in page.messages} <= {"old", "new"}
                if page.last_change:
                    assert page.messages[1].content == "new"

        async def edit(room_id: str, done: asyncio.Event) -> None:
            await store.change(asked(2, room_id, content="new"))
            assert (await store.history(room_id, Range(10))).last_change == 1
            done.set()

        for room_id in rooms:
            done = asyncio.Event()
            await asyncio.gather(read(room_id, done), read(room_id, done), edit(room_id, done))


async def test_head_waits_for_what_is_under_way(path: Path) -> None:
    """Changes are announced from the head on that `follow` returned, whenever it was called."""
    told: list[RoomChanges] = []
    async with opened(path) as store:
        await store.append([message()])
        await store.change(asked(content="0"))
    async with opened(path, Listener(changed=told.extend)) as store:
        changes = [asyncio.ensure_future(store.change(asked(content=f"{n}"))) for n in range(1, 20)]
        await asyncio.sleep(0)
        head = await store.follow("room")
        assert head.change == (told[-1].last_change if told else 1)
        await asyncio.gather(*changes)
    assert told[0].after_change == 1
    assert [each.after_change for each in told[1:]] == [each.last_change for each in told[:-1]]
    assert told[-1].last_change == 20


async def test_change_whose_caller_is_gone_is_made(path: Path) -> None:
    told: list[RoomChanges] = []
    async with opened(path, Listener(changed=told.extend)) as store:
        await store.append([message()])
        task = asyncio.ensure_future(store.change(asked(content="new")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.append([message(key="2")])
        assert [each.last_change for each in told] == [1]
        assert await texts(store) == ["new", "hello"]


async def test_full_disk_changes_nothing(path: Path) -> None:
    told: list[RoomChanges] = []
    async with opened(path, Listener(changed=told.extend)) as store:
        await store.append([message(), message(key="2")])
        await store.change(asked(content="new"))
        with full_disk(path), capture_logs():
            extra = message(key="3")
            extra.extra = MessageExtra(mentions=["ben"])
            outcomes = await asyncio.gather(
                store.change(asked(content="lost")),
                store.change(asked(2, by="ben", react="x")),
                store.mark("ben", "room", 2, back=False),
                store.append([extra]),
                store.erase("ada", 5),
                return_exceptions=True,
            )
            assert [type(each) for each in outcomes] == [StoreError] * 5
            # What holds needs no disk, and does not show that it takes writes.
            assert (await store.change(asked(content="new"))).content == "new"
            assert store.health.reason
            assert await texts(store) == ["new", "hello"]
        assert await store.erasures() == []
        assert await store.follow("room") == Head(2, 1)
        assert (await store.mark("ben", "room", 0, back=False)).seq == 0
        await store.change(asked(2, by="ben", react="x"))
        await store.append([message(key="3")])
        assert store.health.state is State.SERVING
        assert await texts(store) == ["new", "hello", "hello"]
    assert [(each.after_change, each.last_change) for each in told] == [(0, 1), (1, 2)]


async def test_one_bad_value_among_others(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message()])
        bad = message(key="bad")
        bad.extra = MessageExtra(data="\udfff")
        good = message(key="good")
        good.extra = MessageExtra(mentions=["ben"])
        with capture_logs():
            outcomes = await asyncio.gather(
                store.append([bad]),
                store.change(asked(content="new")),
                store.append([good]),
                store.change(asked(react="\udfff")),
                store.upsert_user("ben", "Ben", ""),
                store.mark("cy\udfff", "room", 1, back=False),
                store.append([message(key="plain")]),
                return_exceptions=True,
            )
        assert [isinstance(each, StoreError) for each in outcomes] == [
            True, False, False, True, False, True, False,
        ]  # fmt: skip
        assert await texts(store) == ["new", "hello", "hello"]
        assert (await store.mark("ben", "room", 0, back=False)).mentions == 1
        assert await store.follow("room") == Head(3, 1)


async def test_nobody_is_told_of_a_change_in_lost_files(path: Path) -> None:
    told: list[RoomChanges] = []
    away = path.with_name("away")
    async with opened(path, Listener(changed=told.extend)) as store:
        await store.append([message()])
        await store._settle()  # noqa: SLF001 - so that the text is read from the file
        shutil.move(path, away)
        with capture_logs():
            with pytest.raises(StoreError):
                await store.change(asked(content="lost"))
            assert await texts(store) == ["hello"]
            shutil.move(away, path)
            assert (await store.change(asked(content="new"))).content == "new"
    assert [(each.after_change, each.last_change) for each in told] == [(0, 1)]


async def test_many_reactions_in_one_commit(path: Path) -> None:
    """Those who are named, and the rows, as if each had come alone."""
    users = [f"u{n:03}" for n in range(60)]
    async with opened(path) as store:
        await store.append([message()])
        await asyncio.gather(*(store.change(asked(by=user, react="a")) for user in users))
        # In one commit: 30 of them go, one comes again, and all the others come of another kind.
        await asyncio.gather(
            *(store.change(asked(by=user, unreact="a")) for user in users[:30]),
            store.change(asked(by=users[0], react="a")),
            *(store.change(asked(by=user, react="b")) for user in users[30:]),
            store.change(asked(by=users[40], unreact="b")),
        )
        [found] = (await store.history("room", Range(1))).messages
        state = state_of(found)
        assert state is not None
        assert [(each.emoji, each.count, each.user_ids) for each in state.reactions] == [
            ("a", 31, users[30:50]),
            ("b", 29, [user for user in users[30:51] if user != users[40]]),
        ]
        listed = await store.reactions("room", 1, "", None, 100)
        assert [row.user_id for row in listed if row.emoji == "a"] == [*users[30:], users[0]]
        assert state.change == 60 + 30 + 1 + 30 + 1


async def test_all_in_one_commit(path: Path) -> None:
    """A message, its edit, a reaction and its deletion, before anybody could know of it."""
    told: list[RoomChanges] = []
    announced: list[ChatMessage] = []
    async with opened(path, Listener(announced.extend, changed=told.extend)) as store:
        await store.append([message()])
        sent = message(key="2")
        sent.extra = MessageExtra(mentions=["ben"])
        await asyncio.gather(
            store.append([sent]),
            store.change(asked(2, content="new")),
            store.change(asked(2, by="ben", react="x")),
            store.change(asked(2, delete=Delete())),
            store.mark("ben", "room", 0, back=True),
        )
        assert announced[-1].content == "hello"
        assert told[-1].last_change == 3
        assert told[-1].messages[-1].content == ""
        assert await texts(store) == ["hello", ""]
        assert (await store.mark("ben", "room", 0, back=False)).mentions == 0
        assert await store.reactions("room", 2, "", None, 10) == []
    for table in ("reactions", "mentions"):
        assert rows(path, f"SELECT * FROM {table}") == []  # noqa: S608 - no input


async def test_mark_that_does_not_move_writes_nothing(path: Path) -> None:
    async with opened(path) as store:
        await store.append([message(key=str(n)) for n in range(3)])
        await store.mark("ben", "room", 2, back=False)
        other = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        before = other.pragma("data_version")
        await asyncio.gather(*(store.mark("ben", "room", n, back=False) for n in range(3)))
        await store.mark("ben", "room", 2, back=True)
        assert other.pragma("data_version") == before
        await store.mark("ben", "room", 3, back=False)
        assert other.pragma("data_version") != before
        other.close()


async def test_erasure_goes_on_after_a_restart(path: Path) -> None:
    async with opened(path) as store:
        for room_id in ("a", "b", "c"):
            await store.append([message(room_id, key=str(n)) for n in range(3)])
        assert (await store.erase("ada", 4)) == (4, False)
    async with opened(path) as store:
        assert await store.erasures() == ["ada"]
        assert (await store.erase("ada", 4)) == (4, False)
        # It is back: what it sends from now on is new.
        await store.append([message("a", key="new")])
        assert (await store.erase("ada", 4)).messages >= 1
        assert (await store.erase("ada", 4)).done
        assert await store.erasures() == []
        for room_id in ("b", "c"):
            assert all(map(is_deleted, (await store.history(room_id, Range(9))).messages))
