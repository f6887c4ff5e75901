"""What is known of rooms, on several nodes: set at once, beside nodes of before, damaged."""

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from chat.storage.base import Range, StoreError
from chat.storage.rooms import room_of
from codec import decode, encode
from gen.chat import MessageState, Room
from tests.chat.storage.postgres.nodes import node as a_node
from tests.chat.storage.postgres.test_changes import NO_BUS, execute


async def test_nodes_set_rooms_at_once(postgres_url: str) -> None:
    """That are not there before; and messages change meanwhile, also where no hint tells."""
    async with (
        a_node(postgres_url, sweep_seconds=0.1) as one,
        a_node(postgres_url, hints=NO_BUS, sweep_seconds=0.1) as other,
    ):
        await one.send()
        for node in (one, other):
            await node.store.follow("room")
            await node.store.follow("new")
        await asyncio.gather(
            *(
                node.store.set_room(Room(room_id, f"{nth} {number}", "Topic"), None)
                for number in range(8)
                for nth, node in enumerate((one, other))
                for room_id in ("room", "new")
            ),
            one.change(content="edited"),
            other.change(react="a"),
        )
        for room_id, last in (("room", 18), ("new", 16)):
            [row] = await other.store.room_rows([room_id], "")
            for node in (one, other):
                heard = await node.hears_change(last, room_id)
                assert (heard[0].after_change, heard[-1].last_change) == (0, last)
                told = [each for each in map(room_of, heard) if each is not None]
                assert told[-1] == row.room
                numbers = [each.change for each in told]
                assert numbers == sorted(set(numbers))
        assert await other.store.room_ids("", 9, "TOPIC", "") == ([], "")
        assert (await other.store.room_ids("", 9, "", "")).ids == ["new", "room"]


async def test_nodes_of_before_take_a_set_room_for_a_change(postgres_url: str) -> None:
    """Of a message that nobody has: its state is one, and they count on behind it."""
    async with a_node(postgres_url) as node:
        await node.send()
        await node.store.follow("room")
        await node.store.set_room(Room("room", "Title"), None)
        connection = await asyncpg.connect(postgres_url)
        [row] = await connection.fetch("SELECT seq, change, text_change, state FROM chat.states")
        assert (row["seq"], row["change"], row["text_change"]) == (0, 1, 0)
        assert decode(MessageState, row["state"]) == MessageState(change=1)
        columns: list[list[object]] = [["room"], [1], [2], [1], [1], [2], [0], [False]]
        columns.append([encode(MessageState(change=2, pinned=True))])
        columns += [[]] * 15
        arguments = ", ".join(f"${nth}" for nth in range(1, 26))
        statement = f"SELECT chat.change_1({arguments})"
        await connection.execute(statement, node.store.epoch, *columns)
        await connection.close()
        await node.store.catch_up("room")
        assert await node.store.set_room(Room("room", "Title 2"), 1) == Room(
            "room", "Title 2", change=3
        )
        [first, second, third] = await node.hears_change(3)
        assert [room_of(each) is not None for each in (first, second, third)] == [True, False, True]
        assert [each.seq for each in second.messages] == [1]


async def test_search_looks_at_so_many_rooms_at_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.storage.postgres.room_reads._LOOKED_AT", 3)
    async with a_node(postgres_url) as node:
        await asyncio.gather(*(node.send(room_id=f"r{number}") for number in range(7)))
        await node.store.set_room(Room("r4", "Cours"), None)
        found = [await node.store.room_ids(after, 2, "cours", "") for after in ("", "r2", "r5")]
        assert found == [([], "r2"), (["r4"], "r5"), ([], "")]
        assert await node.store.room_ids("", 2, "R", "") == (["r0", "r1"], "r1")
        # A room that is there by its row alone is none.
        await execute(postgres_url, "UPDATE chat.rooms SET head = 0 WHERE room_id = 'r0'")
        assert (await node.store.room_ids("", 1, "", "")).ids == ["r1"]


async def test_info_that_is_no_room(postgres_url: str) -> None:
    """An error for who asks for it; others have their turn."""
    async with a_node(postgres_url) as node, a_node(postgres_url, hints=NO_BUS) as other:
        await node.send()
        await other.store.follow("room")
        await node.store.set_room(Room("room", "Title"), None)
        await node.change(react="a")
        await execute(postgres_url, r"UPDATE chat.states SET extra = '\xff' WHERE seq = 0")
        for reading in (
            node.store.room_rows(["room"], ""),
            node.store.changes("room", 0, 9),
            node.store.set_room(Room("room", "other"), None),
            node.store.room_ids("", 9, "x", ""),
        ):
            with pytest.raises(StoreError, match="known of room room is not readable"):
                await reading
        await node.change(react="b")
        with capture_logs():
            await other.store.catch_up("room")
        assert (await other.hears_change(3))[-1].last_change == 3
        assert len((await node.store.history("room", Range(9))).messages) == 1
