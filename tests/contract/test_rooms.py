"""What is known of rooms beside their messages, on every engine."""

import asyncio

import pytest

from chat.storage.base import MOST_MEMBERS, Range, Store, Unstorable
from chat.storage.changes import Change, is_deleted
from chat.storage.listener import Head
from chat.storage.rooms import room_of
from gen.chat import ChangeMessageRequest, Delete, Mark, MessageExtra, Room, RoomChanges
from tests.contract.engines import Engine
from tests.support import message


async def edit(store: Store, seq: int = 1, text: str = "edited") -> None:
    await store.change(Change(ChangeMessageRequest("room", seq, "ada", content=text)))


async def listed(store: Store, query: str = "", marked_by: str = "", limit: int = 50) -> list[str]:
    """The ids of all rooms that are found, page by page."""
    found: list[str] = []
    after = ""
    while True:
        ids, after = await store.room_ids(after, limit, query, marked_by)
        assert len(ids) <= limit
        found += ids
        if not after:
            return found


def info(changes: RoomChanges) -> Room:
    found = room_of(changes)
    assert found is not None
    return found


async def test_set_room_is_a_change_of_it(engine: Engine, store: Store) -> None:
    await store.append([message("room")])
    await edit(store)
    known = await store.set_room(Room("room", "Title", "Topic\nof two lines", 99), None)
    assert known == Room("room", "Title", "Topic\nof two lines", 2)
    [_, told] = engine.changed
    assert told == RoomChanges("room", 1, 2, room=known)
    assert await store.follow("room") == Head(1, 2)
    assert (await store.history("room", Range(1))).last_change == 2
    [row] = await store.room_rows(["room"], "")
    assert row.room == known


async def test_nothing_is_to_be_known_of_a_room_of_which_nothing_is(
    engine: Engine, store: Store
) -> None:
    assert await store.set_room(Room("room"), None) == Room("room")
    assert engine.changed == []
    assert await listed(store) == []


async def test_refused_value_leaves_no_trace(engine: Engine, store: Store) -> None:
    with pytest.raises(Unstorable):
        await store.set_room(Room("room", "\ud800"), None)
    assert await listed(store) == []
    assert (await store.set_room(Room("room", "fine"), None)).change == 1
    assert len(engine.changed) == 1


async def test_room_is_in_its_place_among_the_changes(store: Store) -> None:
    await store.append([message("room", key=str(n)) for n in range(3)])
    await edit(store, 1)
    await store.set_room(Room("room", "first"), None)
    await edit(store, 2)
    known = await store.set_room(Room("room", "second"), None)
    await edit(store, 3)

    async def page(after: int, limit: int) -> tuple[list[int], Room | None, int, bool]:
        changes, has_more = await store.changes("room", after, limit)
        assert changes.after_change == after
        seqs = [each.seq for each in changes.messages]
        return seqs, room_of(changes), changes.last_change, has_more

    assert await page(0, 9) == ([1, 2, 3], known, 5, False)
    # It counts as one of them, and is where it was set last.
    assert await page(0, 2) == ([1, 2], None, 3, True)
    assert await page(3, 1) == ([], known, 4, True)
    assert await page(3, 2) == ([3], known, 5, False)
    assert await page(4, 9) == ([3], None, 5, False)
    assert [await store.count_changes("room", after, 9) for after in (0, 3, 4, 5)] == [4, 2, 1, 0]


async def test_messages_are_as_before_in_a_room_that_was_set(store: Store) -> None:
    await store.set_room(Room("room", "Title"), None)
    assert await store.last_seq("room") == 0
    empty = await store.history("room", Range(5))
    assert (empty.messages, empty.has_more, empty.last_change) == ([], False, 1)
    await store.append([message("room", "one", key="1"), message("room", "two", key="2")])
    for span in (Range(5), Range(5, after_seq=0), Range(100, before_seq=3)):
        page = await store.history("room", span)
        assert [each.content for each in page.messages] == ["one", "two"]
        assert not page.has_more
    [repeated] = await store.append([message("room", "one", key="1")])
    assert (repeated.seq, repeated.content) == (1, "one")
    deletion = ChangeMessageRequest("room", 1, "ada", delete=Delete())
    assert is_deleted(await store.change(Change(deletion)))
    await store.set_room(Room("room", "New"), None)
    assert (await store.set_room(Room("room", "New"), None)).change == 3


async def test_rooms_are_listed_in_order(store: Store) -> None:
    ids = ["B", "a", "aa", "b", "é", "\uffee", "🦊"]  # the last two sort otherwise in UTF-16
    assert await listed(store) == []
    await store.append([message(room_id, key="1") for room_id in reversed(ids[1:])])
    await store.set_room(Room("B", "never written to"), None)
    assert await listed(store) == ids
    assert await listed(store, limit=2) == ids
    assert (await store.room_ids("aa", 2, "", "")).ids == ["b", "é"]
    assert (await store.room_ids("ab", 1, "", "")).ids == ["b"]
    assert await store.room_ids("🦊", 9, "", "") == ([], "")
    assert await store.room_ids("", len(ids), "", "") == (ids, "")


async def test_rooms_are_found_by_id_and_title_whatever_the_case(store: Store) -> None:
    titles = {
        "cours-1": "Été à la Mer",
        "cours-2": "STRASSE 100%",
        "Quiet": "",
        "old": "Cours",
        "_x": "",
    }
    await store.append([message(room_id, key="1") for room_id in titles])
    for room_id, title in titles.items():
        await store.set_room(Room(room_id, title, "a topic is not looked at: Quiet"), None)
    for query, found in {
        "COURS": ["cours-1", "cours-2", "old"],
        "quiet": ["Quiet"],
        "e\u0301te\u0301": ["cours-1"],  # decomposed
        "LA MER": ["cours-1"],
        "straße": ["cours-2"],
        "%": ["cours-2"],
        "_": ["_x"],
        "nothing": [],
        "' OR 1=1 --": [],
    }.items():
        assert await listed(store, query) == found, query
    assert await listed(store, "cours", limit=1) == ["cours-1", "cours-2", "old"]
    # The old title is forgotten.
    await store.set_room(Room("cours-2", "other"), None)
    assert await listed(store, "strasse") == []


async def test_rooms_with_a_mark(store: Store) -> None:
    await store.append([message(room_id, key="1") for room_id in ("a", "b", "room")])
    for room_id in ("room", "a"):
        await store.mark("ben", room_id, 1, back=False)
    await store.mark("ada", "b", 1, back=False)
    assert await listed(store, marked_by="ben") == ["a", "room"]
    assert await listed(store, marked_by="ben", limit=1) == ["a", "room"]
    assert await listed(store, "RO", marked_by="ben") == ["room"]
    assert (await store.room_ids("a", 9, "", "ben")).ids == ["room"]
    assert await listed(store, marked_by="eve") == []
    # One that went back is a mark all the same.
    await store.mark("ben", "a", 0, back=True)
    assert await listed(store, marked_by="ben") == ["a", "room"]


async def test_rows_of_rooms(store: Store) -> None:
    to_ben = message("room", "hello ben", key="2")
    to_ben.extra = MessageExtra(mentions=["ben"])
    await store.append([message("room", "first", key="1"), to_ben, message("a", key="1")])
    known = await store.set_room(Room("room", "Title"), None)
    await store.set_room(Room("empty", "Nobody wrote here"), None)
    await edit(store, 2, "hello again, ben")
    await store.mark("ben", "room", 1, back=False)
    await store.mark("ada", "room", 2, back=False)
    rows = await store.room_rows(["room", "unknown", "empty", "a"], "ben")
    [current] = (await store.history("room", Range(1))).messages
    assert rows[0] == (known, current, Mark("room", 1, 1), 2)
    assert current.content == "hello again, ben"
    assert rows[1] == (Room("unknown"), None, None, 0)
    assert rows[2].room.title == "Nobody wrote here"
    assert rows[2][1:] == (None, None, 0)
    assert rows[3].last_message is not None
    assert (rows[3].room, rows[3].last_message.seq, rows[3].mark) == (Room("a"), 1, None)
    [row] = await store.room_rows(["room"], "")
    assert (row.mark, row.members) == (None, 2)
    deletion = ChangeMessageRequest("room", 2, "ada", delete=Delete())
    deleted = await store.change(Change(deletion))
    [row] = await store.room_rows(["room"], "eve")
    assert (row.last_message, row.mark) == (deleted, None)


async def test_rows_of_many_rooms(store: Store) -> None:
    ids = [f"r{number:03}" for number in range(120)]
    await store.append([message(room_id, room_id, key="1") for room_id in ids])
    rows = await store.room_rows(ids[::-1], "ben")
    assert [row.last_message.content for row in rows if row.last_message] == ids[::-1]


async def test_members(store: Store) -> None:
    await store.append([message("room"), message("a")])
    users = ["ada", "Ben", "é", "🦊"]
    for user_id in users:
        await store.mark(user_id, "room", 1, back=False)
    assert await store.members("room", "", 9) == ["Ben", "ada", "é", "🦊"]
    assert await store.members("room", "Ben", 2) == ["ada", "é"]
    assert await store.members("room", "🦊", 9) == []
    assert await store.members("a", "", 9) == await store.members("unknown", "", 9) == []


async def test_members_are_counted_up_to_a_bound(store: Store) -> None:
    await store.append([message("room")])
    users = [f"user {number}" for number in range(MOST_MEMBERS + 1)]
    await asyncio.gather(*(store.mark(user_id, "room", 1, back=False) for user_id in users))
    [row] = await store.room_rows(["room"], "")
    assert row.members == MOST_MEMBERS


async def test_erased_user_is_a_member_of_nothing(store: Store) -> None:
    await store.append([message("room"), message("room", sender_id="ben")])
    await store.set_room(Room("room", "of ben"), None)
    for user_id in ("ada", "ben"):
        await store.mark(user_id, "room", 1, back=False)
    while not (await store.erase("ben", 1)).done:
        pass
    assert await store.members("room", "", 9) == ["ada"]
    assert await listed(store, marked_by="ben") == []
    [row] = await store.room_rows(["room"], "ben")
    assert (row.mark, row.members, row.room.title) == (None, 1, "of ben")


async def test_users_by_their_ids(store: Store) -> None:
    await store.append([message("room", sender_id="ada")])
    await store.upsert_user("ben", "Ben B.", "ben@example.org")
    store.set_active("ben", True)
    found = await store.get_users(["ben", "nobody", "ada", "' OR 1=1 --"])
    assert sorted(user.id for user in found) == ["ada", "ben"]
    assert await store.get_user("ben") in found
    assert await store.get_users(["nobody"]) == []


async def test_set_at_once_with_messages(engine: Engine, store: Store) -> None:
    """Spans chain, and each tells what its number says."""

    async def set_title(number: int) -> Room:
        return await store.set_room(Room("room", f"title {number}"), None)

    await store.append([message("room")])
    rooms = await asyncio.gather(
        *(set_title(number) for number in range(5)), edit(store), set_title(9)
    )
    numbers = [room.change for room in rooms if isinstance(room, Room)]
    assert len(set(numbers)) == len(numbers)
    last = 0
    for told in engine.changed:
        assert told.after_change == last < told.last_change
        last = told.last_change
    assert last == 7
    newest = info((await store.changes("room", 0, 9)).changes)
    assert newest == max((each for each in rooms if each), key=lambda room: room.change)
    told_last = [room for each in engine.changed if (room := room_of(each))][-1]
    assert told_last == newest
