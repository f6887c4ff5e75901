"""What becomes of messages on several nodes: at once, with hints lost, connections killed."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest
from structlog.testing import capture_logs

from chat.errors import NotFound
from chat.storage.base import Range, StoreError, Unanswered, Unstorable
from chat.storage.changes import extra_of, is_deleted, state_of
from chat.storage.listener import Head
from chat.storage.postgres.epoch import rotate
from chat.storage.rooms import room_of
from gen.chat import Delete, MessageExtra, Room
from tests.chat.storage.postgres.nodes import Node, be_patient
from tests.chat.storage.postgres.nodes import node as a_node
from tests.faults.link import Link, Way
from tests.kit.postgres import Postgres
from tests.support import message, seqs

# A bus that there is not: what it should tell is found by sweeps.
NO_BUS = "valkey://127.0.0.1:1"
# Whether a change waits for a lock.
WAITS = (
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"
    " AND query LIKE '%change_2%'"
)


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_nodes_change_the_same_messages_at_once(postgres_url: str) -> None:
    """No number twice, no gap; every node announces all."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(a_node(postgres_url)) for _ in range(3)]
        await nodes[0].send(3)
        for node in nodes:
            await node.store.follow("room")
        users = [f"u{number}" for number in range(8)]
        await asyncio.gather(
            *(
                node.change(seq, f"{user} of {nth}", react="👍")
                for nth, node in enumerate(nodes)
                for user in users
                for seq in (1, 2, 3)
            ),
            *(node.change(1, content=f"text of {nth}") for nth, node in enumerate(nodes)),
        )
        most = 3 * len(nodes) * len(users)
        page = await nodes[0].store.history("room", Range(9))
        assert most < page.last_change <= most + len(nodes)
        for each in page.messages:
            state = state_of(each)
            assert state is not None
            assert state.reactions[0].count == len(nodes) * len(users)
        rows = await nodes[1].store.reactions("room", 2, "", None, 100)
        assert len({row.change for row in rows}) == len(rows) == 24
        for node in nodes:
            heard = await node.hears_change(page.last_change)
            assert (heard[0].after_change, heard[-1].last_change) == (0, page.last_change)
            last = {each.seq: each.state for span in heard for each in span.messages}
            assert last == {each.seq: state_of(each) for each in page.messages}
            texts = [t.content for span in heard for t in span.messages if t.content is not None]
            assert texts[-1] == page.messages[0].content


async def test_hint_brings_a_change_and_a_mark(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    async with a_node(postgres_url) as one, a_node(postgres_url) as other:
        await one.send()
        await other.store.follow("room")
        # From now on each is heard: a mark is told once, and in no other way.
        await asyncio.gather(one.meets(), other.meets())
        await one.change(content="new")
        [span] = await other.hears_change(1)
        assert [each.content for each in span.messages] == ["new"]
        await one.store.mark("ben", "room", 1, back=False)
        told = await other.hears_mark()
        assert (told.user_id, told.mark.room_id, told.mark.seq) == ("ben", "room", 1)


async def test_sweep_finds_what_no_hint_told(postgres_url: str) -> None:
    async with (
        a_node(postgres_url, hints=NO_BUS) as one,
        a_node(postgres_url, hints=NO_BUS, sweep_seconds=0.1) as other,
    ):
        await one.send()
        assert await other.store.follow("room") == Head(1, 0)
        await one.change(react="👍")
        await one.change(content="new")
        await one.send()
        await one.change(2, content="a new message")
        heard = await other.hears_change(3)
        assert {each.seq for span in heard for each in span.messages} == {1, 2}
        assert seqs(other.announced) == [2]


async def test_catching_up_brings_changes(postgres_url: str) -> None:
    async with a_node(postgres_url, hints=NO_BUS) as one, a_node(postgres_url, hints=NO_BUS) as two:
        await one.send()
        await two.store.follow("room")
        for number in range(5):
            await one.change(content=f"text {number}")
        await two.store.catch_up("room")
        [span] = two.changed
        assert (span.after_change, span.last_change, len(span.messages)) == (0, 5, 1)
        assert await two.store.follow("room") == Head(1, 5)


async def test_many_changes_come_in_pieces(postgres_url: str) -> None:
    """A text of before is not left out for a message that was overtaken in between."""
    async with a_node(postgres_url, hints=NO_BUS) as one, a_node(postgres_url, hints=NO_BUS) as two:
        await one.send(300)
        await two.store.follow("room")
        await one.change(1, content="early")
        await asyncio.gather(*(one.change(seq, pinned=True) for seq in range(2, 301)))
        await one.change(1, react="👍")
        await two.store.catch_up("room")
        assert len(two.changed) > 1
        assert (await two.hears_change(301))[0].after_change == 0
        texts = [(t.seq, t.content) for s in two.changed for t in s.messages if t.content]
        assert texts == [(1, "early")]


async def test_append_brings_extras_of_others(postgres_url: str) -> None:
    async with (
        a_node(postgres_url, hints=NO_BUS) as one,
        a_node(postgres_url, "room", hints=NO_BUS) as two,
    ):
        sent = message(key="1")
        sent.extra = MessageExtra(reply_to=7, mentions=["ben"], data="{}")
        await one.store.append([sent, message(key="2")])
        await one.change(2, content="edited")
        await two.store.append([message(key="3")])
        heard = await two.hears(3)
        assert heard[0] == sent
        assert heard[1].content == "edited"
        assert [extra_of(each) is None for each in heard] == [False, False, True]
        # Repeats get what is stored, too.
        again = await two.store.append([message(key="1"), message(key="2"), message(key="4")])
        assert again[:2] == heard[:2]


async def test_lost_answer_is_asked_for_again(postgres: Postgres, postgres_url: str) -> None:
    """The commit was made, but nobody heard of it: no number is used twice."""
    name = postgres_url.rpartition("/")[2]
    async with (
        Link.to(postgres.address) as link,
        a_node(postgres_url.replace(postgres.address, link.address)) as node,
        postgres.connect(name) as connection,
    ):
        await node.send()
        await node.store.follow("room")
        await node.change(react="a")
        async with connection.transaction():
            await connection.execute("SELECT FROM chat.rooms FOR UPDATE")
            changing = asyncio.ensure_future(node.change(react="b"))
            await postgres.until(WAITS, name)
            link.halve(Way.BACK)
        await postgres.until("SELECT true FROM chat.reactions WHERE emoji = 'b'", database=name)
        link.cut()
        link.restore()
        state = state_of(await changing)
        assert state is not None
        assert (state.change, len(state.reactions)) == (2, 2)
        await node.hears_change(2)
        assert (await node.store.history("room", Range(1))).last_change == 2
        # Likewise a room that is set, under a condition that held before.
        async with connection.transaction():
            await connection.execute("SELECT FROM chat.rooms FOR UPDATE")
            setting = asyncio.ensure_future(node.store.set_room(Room("room", "Title"), 0))
            await postgres.until(WAITS, name)
            link.halve(Way.BACK)
        await postgres.until("SELECT true FROM chat.states WHERE seq = 0", database=name)
        link.cut()
        link.restore()
        assert await setting == Room("room", "Title", change=3)
        await node.hears_change(3)


async def test_database_that_stays_away(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.storage.postgres.appender.PATIENCE_SECONDS", 0.2)
    async with (
        Link.to(postgres.address) as link,
        a_node(postgres_url.replace(postgres.address, link.address)) as node,
    ):
        await node.send()
        await node.change(react="a")
        link.cut()
        outcomes = await asyncio.gather(
            node.change(react="b"),
            node.store.mark("ada", "room", 1, back=False),
            node.store.erase("ada", 1),
            return_exceptions=True,
        )
        assert [type(each) in (StoreError, Unanswered) for each in outcomes] == [True] * 3
        link.restore()
        monkeypatch.undo()
        await node.change(react="c")
        assert (await node.store.mark("ada", "room", 1, back=False)).seq == 1


async def test_killed_connections(postgres: Postgres, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    async with a_node(postgres_url) as one, a_node(postgres_url) as two:
        await one.send()
        for node in (one, two):
            await node.store.follow("room")

        async def change(node: Node, who: str) -> None:
            for number in range(10):
                await node.change(by=who, react=f"{number}")
                await node.store.set_room(Room(f"new {number}", "the same"), None)
                await node.store.set_room(Room("room", f"{who} {number}"), None)
                await node.store.mark(who, "room", 1, back=False)

        changing = asyncio.gather(change(one, "ada"), change(two, "ben"))
        for _ in range(3):
            await asyncio.sleep(0.02)
            await postgres.terminate(f"datname = '{name}'")
        await changing
        page = await one.store.history("room", Range(1))
        assert page.last_change == 40
        rows = await two.store.room_rows(["room", *(f"new {n}" for n in range(10))], "")
        [room, *new] = [row.room for row in rows]
        assert new == [Room(f"new {n}", "the same", change=1) for n in range(10)]
        for node in (one, two):
            heard = await node.hears_change(40)
            assert [each for each in map(room_of, heard) if each is not None][-1] == room
        state = state_of(page.messages[0])
        assert state is not None
        assert [each.count for each in state.reactions] == [2] * 10


async def test_another_epoch(postgres_url: str) -> None:
    async with a_node(postgres_url) as node:
        await node.send()
        await node.store.follow("room")
        await node.change(react="a")
        connection = await asyncpg.connect(postgres_url)
        await rotate(connection)
        await connection.close()
        # It is refused under the old one, and made under the new one.
        await node.change(react="b")
        assert await node.is_renewed() == {"room": Head(1, 1)}
        assert node.changed[-1].after_change == 1
        assert (await node.store.mark("ada", "room", 1, back=False)).seq == 1


@pytest.mark.parametrize(
    "loss",
    [
        "UPDATE chat.rooms SET changes = 1",
        "UPDATE chat.rooms SET changes = 3",
        "DELETE FROM chat.states WHERE change = 2",
        "DELETE FROM chat.states WHERE seq = 0",
    ],
)
async def test_lost_changes_are_another_epoch(postgres_url: str, loss: str) -> None:
    """Numbers that went back, and a number that no message has."""
    async with a_node(postgres_url, sweep_seconds=0.1) as node:
        await node.send(2)
        await node.store.follow("room")
        await node.change(1, react="a")
        await node.change(2, react="b")
        if "seq" in loss:
            await node.store.set_room(Room("room", "Title"), None)
        old = node.store.epoch
        await execute(postgres_url, loss)
        if "DELETE" in loss:
            # Only who connects anew would look: the numbers are right.
            await execute(postgres_url, "UPDATE chat.rooms SET changes = changes + 1")
        with capture_logs():
            await node.is_renewed()
        assert node.store.epoch != old


async def test_old_nodes_append_beside_new_ones(postgres_url: str) -> None:
    """During an update: they know `append_1`, and read texts where they always were."""
    async with a_node(postgres_url, "room") as node:
        await node.send()
        await node.change(content="edited")
        connection = await asyncpg.connect(postgres_url)
        row = await connection.fetchrow(
            "SELECT * FROM chat.append_1((SELECT value FROM chat.meta WHERE key = 'epoch'),"
            " '{old}', '{}', '{room}', '{1}', '{0}', '{1}', '{1}', '{old}', '{k}', '{from old}',"
            " false, 10000)"
        )
        assert row is not None
        assert row["gap_contents"] == ["edited"]
        await connection.close()
        await node.store.catch_up("room")
        assert [each.content for each in node.announced] == ["hello", "from old"]
        await node.change(2, by="old", delete=Delete())
        await node.send()
        page = await node.store.history("room", Range(9))
        assert [each.content for each in page.messages] == ["edited", "", "hello"]
        assert page.last_change == 2


@pytest.mark.parametrize(
    "spoil",
    [r"UPDATE chat.states SET state = '\xff'", r"UPDATE chat.states SET extra = '\xff'"],
    ids=["state", "extra"],
)
async def test_state_that_is_no_message(postgres_url: str, spoil: str) -> None:
    """An error for who asks for it; others have their turn."""
    async with a_node(postgres_url) as node, a_node(postgres_url, hints=NO_BUS) as other:
        sent = message(key="1")
        sent.extra = MessageExtra(data="x")
        await node.store.append([sent, message(key="2")])
        await other.store.follow("room")
        await node.change(1, react="a")
        await execute(postgres_url, spoil)
        with pytest.raises(StoreError, match="has no readable state"):
            await node.store.history("room", Range(9))
        with pytest.raises(StoreError, match="has no readable state"):
            await node.change(1, react="b")
        await node.change(2, react="b")
        with capture_logs():
            await other.store.catch_up("room")
        assert (await other.hears_change(2))[-1].last_change == 2
        if "state =" in spoil:
            with pytest.raises(StoreError, match="has no readable state"):
                await node.store.changes("room", 0, 9)
        third = await a_new_follower(postgres_url)
        assert third == [3]


async def a_new_follower(url: str) -> list[int]:
    async with a_node(url) as node:
        await node.store.follow("room")
        await node.send()
        return seqs(node.announced)


async def test_unstorable_change(postgres_url: str) -> None:
    async with a_node(postgres_url) as node:
        await node.send()
        for change in ({"content": "\0"}, {"react": "\0"}, {"content": "\ud800"}):
            with pytest.raises(Unstorable):
                await node.change(1, **change)
        with pytest.raises(Unstorable):
            await node.change(1, "\0", react="a")
        with pytest.raises(Unstorable):
            await node.store.mark("a\0", "room", 1, back=False)
        with pytest.raises(Unstorable):
            await node.store.erase("\ud800", 5)
        with pytest.raises(NotFound):
            await node.change(2, react="a")
        assert (await node.store.history("room", Range(1))).last_change == 0


async def test_rights_are_those_on_other_tables(postgres: Postgres, postgres_url: str) -> None:
    """A database is brought up by its owner, while others use it: they need no further rights."""
    name = postgres_url.rpartition("/")[2]
    user = f"node_{name}"
    async with a_node(postgres_url):
        pass
    await postgres.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'x'")
    try:
        await execute(
            postgres_url,
            "DROP TABLE chat.states, chat.reactions, chat.mentions, chat.marks, chat.erasures",
            "ALTER TABLE chat.rooms DROP COLUMN changes, DROP COLUMN has_states",
            "ALTER TABLE chat.users DROP COLUMN tone",
            "DROP FUNCTION chat.append_2, chat.change_1, chat.change_2, chat.mark_1",
            f"GRANT USAGE ON SCHEMA chat TO {user}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA chat TO {user}",
            "UPDATE chat.meta SET value = '2' WHERE key = 'version'",
        )
        async with a_node(postgres_url):
            pass
        async with a_node(postgres.url(name, user=f"{user}:x")) as node:
            await node.send()
            await node.change(content="new")
            await node.store.mark("ben", "room", 1, back=False)
            assert (await node.store.erase("ada", 5)).done
            assert is_deleted((await node.store.history("room", Range(1))).messages[0])
        await postgres.execute(f"DROP OWNED BY {user}", database=name)
    finally:
        await postgres.execute(f"DROP ROLE {user}")


async def test_two_nodes_run_the_same_erasure(postgres_url: str) -> None:
    async with a_node(postgres_url) as one, a_node(postgres_url) as two:
        await one.send(30)
        await one.send(1, "other room")
        await two.store.append([message("other room", key="x", sender_id="ben")])
        await two.change(3, by="ada", react="a")
        await two.store.mark("ada", "room", 3, back=False)
        erased = 0
        while True:
            steps = await asyncio.gather(*(node.store.erase("ada", 4) for node in (one, two)))
            erased += sum(step.messages for step in steps)
            if all(step.done for step in steps):
                break
        assert erased >= 31
        assert await one.store.erasures() == []
        page = await one.store.history("room", Range(50))
        assert all(map(is_deleted, page.messages))
        assert page.last_change == 31
        assert [u.id for u in await two.store.list_users("", 9)] == ["ben"]
        # Each node had known the user; what comes now is of a new one.
        for node in (one, two):
            await node.send()
        assert [u.id for u in await two.store.list_users("", 9)] == ["ada", "ben"]
