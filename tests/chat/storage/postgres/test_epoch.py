"""The check of the epoch, on real servers that take each other's place."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from chat.storage.base import Range, StoreError
from chat.storage.listener import Head
from chat.storage.postgres import schema
from chat.storage.postgres.change_following import ChangeMark
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.epoch import Claim, Known, Server, judge, read_server
from chat.storage.postgres.stays import Mark
from tests.chat.storage.files import open_store
from tests.chat.storage.postgres.conftest import Connect
from tests.chat.storage.postgres.nodes import node
from tests.kit.postgres import Postgres
from tests.kit.processes import run

NODES = 8


async def meta(connection: Connection) -> dict[str, str]:
    rows = await connection.fetch("SELECT * FROM chat.meta")
    return {row["key"]: row["value"] for row in rows}


async def claim(connection: Connection) -> None:
    """Notes that commits are synchronous, as a heartbeat does."""
    await connection.execute("UPDATE chat.meta SET value = 'on' WHERE key = 'synchronous'")


async def store(connection: Connection, room_id: str, number: int) -> None:
    await connection.execute(
        "WITH new AS (INSERT INTO chat.rooms (room_id, head) VALUES ($1, $2) RETURNING room)"
        " INSERT INTO chat.messages SELECT room, seq, now(), 'ada', 'id ' || seq, ''"
        " FROM new, generate_series(1, $2) AS seq",
        room_id,
        number,
    )


async def test_nodes_that_open_it_at_once_agree(connect: Connect, connection: Connection) -> None:
    connections = [await connect() for _ in range(NODES)]
    verdicts = await asyncio.gather(*map(judge, connections))
    assert len(set(verdicts)) == 1
    found = await meta(connection)
    assert (found["epoch"], found["server"]) == (verdicts[0].epoch, str(verdicts[0].server))
    assert verdicts[0].server == await read_server(connection)
    assert await judge(connection) == verdicts[0]


async def test_one_node_rotates_and_the_others_follow(
    connect: Connect, connection: Connection
) -> None:
    """After a failover from an asynchronous server."""
    server = (await judge(connection)).server
    old = Server(server.system, server.timeline - 1)
    connections = [await connect() for _ in range(NODES)]
    for _ in range(5):
        epoch = (await meta(connection))["epoch"]
        await connection.execute("UPDATE chat.meta SET value = $1 WHERE key = 'server'", str(old))
        known = Known(epoch, Claim(old, synchronous=True))
        verdicts = await asyncio.gather(*(judge(each, known) for each in connections))
        assert len(set(verdicts)) == 1
        assert verdicts[0].epoch != epoch
        assert (await meta(connection))["epoch"] == verdicts[0].epoch


async def test_synchronous_server_is_adopted(connect: Connect, connection: Connection) -> None:
    epoch, server = await judge(connection)
    old = Server(server.system, server.timeline - 1)
    await connection.execute("UPDATE chat.meta SET value = $1 WHERE key = 'server'", str(old))
    await claim(connection)
    known = Known(epoch, Claim(old, synchronous=True))
    connections = [await connect() for _ in range(NODES)]
    verdicts = await asyncio.gather(*(judge(each, known) for each in connections))
    assert set(verdicts) == {(epoch, server)}
    # It has to be found out anew.
    found = await meta(connection)
    assert (found["server"], found["synchronous"]) == (str(server), "off")


async def test_messages_are_looked_for(connection: Connection) -> None:
    epoch, server = await judge(connection)
    await store(connection, "lobby", 3)
    there = Mark("lobby", 2, "ada", "id 2")
    for mark, lost in (
        (Mark("lobby", 3, "ada", "id 3"), False),
        (Mark("lobby", 3), False),
        (Mark("attic", 0), False),
        (Mark("lobby", 4), True),
        (Mark("attic", 1), True),
        (Mark("lobby", 3, "ada", "another id"), True),
        (Mark("lobby", 3, "bob", "id 3"), True),
    ):
        known = Known(epoch, Claim(server, synchronous=True), [there, mark, there])
        before, epoch = epoch, (await judge(connection, known)).epoch
        assert (epoch != before) == lost, mark


async def test_changes_are_looked_for(connection: Connection) -> None:
    epoch, server = await judge(connection)
    await store(connection, "lobby", 3)
    await connection.execute(
        "UPDATE chat.rooms SET changes = 4; INSERT INTO chat.states (room, seq, change)"
        " SELECT room, seq, seq + 1 FROM chat.rooms, generate_series(1, 3) AS seq"
    )
    there = ChangeMark("lobby", 4, 3)
    for mark, lost in (
        (ChangeMark("lobby", 4), False),
        (ChangeMark("attic", 0), False),
        # It was overtaken by another one of its message.
        (ChangeMark("lobby", 1, 1), False),
        (ChangeMark("lobby", 5), True),
        (ChangeMark("attic", 1), True),
        # Another change has taken the number.
        (ChangeMark("lobby", 4, 2), True),
        # The room itself was never set.
        (ChangeMark("lobby", 4, 0), True),
    ):
        known = Known(epoch, Claim(server, synchronous=True), [], [there, mark, there])
        before, epoch = epoch, (await judge(connection, known)).epoch
        assert (epoch != before) == lost, mark


async def test_doubt_rotates_once(connection: Connection) -> None:
    epoch, server = await judge(connection)
    known = Known(epoch, Claim(server, synchronous=True))
    new = await judge(connection, known, "something is wrong")
    assert new.epoch != epoch
    # Another node with the same doubt follows.
    assert await judge(connection, known, "something is wrong") == new


async def test_server_left_behind_is_refused(connection: Connection) -> None:
    epoch, server = await judge(connection)
    heir = Server(server.system, server.timeline + 1)
    with pytest.raises(StoreError, match="was left behind by a failover"):
        await judge(connection, Known(epoch, Claim(heir, synchronous=False)))


async def test_epoch_is_changed_by_hand(postgres_url: str) -> None:
    async with node(postgres_url, "lobby") as one:
        old = one.store.epoch
        await one.send(room_id="lobby")
        ended = await run("chat.commands.new_epoch", postgres_url)
        assert ended.status == 0, ended.errors
        # Nothing was lost, but the node cannot know.
        assert await one.is_renewed() == {"lobby": Head(1)}
        assert ended.output == f"epoch changed from {old} to {one.store.epoch}\n"
        assert len((await one.store.history("lobby", Range(10))).messages) == 1
        [sent] = await one.send(room_id="lobby")
        assert sent.seq == 2


@pytest.mark.parametrize(
    ("module", "arguments", "text"),
    [
        ("new_epoch", ["chat.db"], "a SQLite file gets a new epoch by chat-restore"),
        ("new_epoch", ["postgresql://ada:secret@127.0.0.1:1/chat"], "cannot open the database"),
        ("import_sqlite", ["{path}", "chat.db"], "the database must have the form postgresql://"),
        ("backup", ["postgresql://ada:secret@db/chat", "copy"], "pg_dump"),
        ("restore", ["copy", "postgresql://ada:secret@db/chat"], "pg_dump"),
    ],
)
async def test_wrong_database_is_told_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, module: str, arguments: list[str], text: str
) -> None:
    path = tmp_path_factory.mktemp("file") / "chat.db"
    if module == "import_sqlite":
        await (await open_store(path)).close()
    ended = await run(f"chat.commands.{module}", *(each.format(path=path) for each in arguments))
    assert ended.status == 1
    assert text in ended.errors
    assert "secret" not in ended.errors
    assert ended.errors.count("\n") == 1


@pytest.mark.usefixtures("postgres_programs")
async def test_promoted_standbys() -> None:
    """Of a synchronous standby the epoch is kept, and of an asynchronous one it is not."""
    async with Postgres.running() as first, first.standby() as second, AsyncExitStack() as stack:

        async def connect(server: Postgres) -> Connection:
            connection = await asyncpg.connect(server.url("postgres"))
            stack.callback(connection.terminate)
            return connection

        await first.require_standby()
        connection = await connect(first)
        await schema.prepare(connection)
        epoch, server = await judge(connection)
        await store(connection, "lobby", 3)
        await claim(connection)
        known = Known(epoch, Claim(server, synchronous=True), [Mark("lobby", 3, "ada", "id 3")])
        await first.kill()
        await second.promote()
        connection = await connect(second)
        promoted = Server(server.system, server.timeline + 1)
        assert await judge(connection, known) == (epoch, promoted)
        # The other one is its standby now, and nothing waits for it.
        await second.configure(synchronous_standby_names="")
        await first.join(second)
        known = Known(epoch, Claim(promoted, synchronous=False), known.marks)
        await second.kill()
        await first.promote()
        verdict = await judge(await connect(first), known)
        assert verdict.server == Server(server.system, server.timeline + 2)
        assert verdict.epoch != epoch
