"""The lease of a node, and the users that are told with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError, Unanswered
from chat.storage.postgres import schema
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.epoch import Claim, Meta, judge
from chat.storage.postgres.lease import LEASE_SECONDS, Lease, Roster
from chat.storage.postgres.side import SideConnection
from tests.chat.storage.postgres.conftest import Connect
from tests.kit.held import held
from tests.kit.postgres import Postgres
from tests.support import PATIENCE_SECONDS, eventually

USERS = ("ada", "bob")


@given(st.lists(st.sampled_from(["ada", "bob", "take", "fail", "empty"])), st.integers(1, 2))
def test_roster_tells_all_in_the_end(steps: list[str], most: int) -> None:
    roster, told = Roster(), set[str]()
    for step in steps:
        if step in USERS:
            roster.set(step, step not in roster)
        elif step == "empty":
            told.clear()
            roster.forget()
        else:
            come, gone = roster.take(most)
            if step == "fail":
                roster.give_back([*come, *gone])
            else:
                told = told.union(come).difference(gone)
    while not roster.is_told:
        come, gone = roster.take(most)
        told = told.union(come).difference(gone)
    assert told == {user for user in USERS if user in roster}


class Running:
    """A lease that is renewed.

    Attributes:
        beats: what its heartbeats found.
        silent: set when the server did not answer.
    """

    def __init__(self, name: str, connect: Connect) -> None:
        self.beats: asyncio.Queue[Meta] = asyncio.Queue()
        self.silent = asyncio.Event()
        self.metrics = StoreMetrics()
        self.side = SideConnection(connect, self.silent.set)
        self.lease = Lease(name, self.side, self.beats.put_nowait, self.metrics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Lease]:
        self.lease.start()
        await self.beats.get()
        yield self.lease
        await self.lease.close()
        await self.side.close()

    async def next_beat(self) -> Meta:
        """A heartbeat that began after this call."""
        while not self.beats.empty():
            self.beats.get_nowait()
        await self.beats.get()
        return await self.beats.get()


async def told(connection: Connection) -> set[tuple[str, str]]:
    """The users that are active, and the nodes that say so."""
    rows = await connection.fetch(
        "SELECT user_id, node FROM chat.active JOIN chat.nodes USING (node)"
        " WHERE alive_until > clock_timestamp()"
    )
    return {(row["user_id"], row["node"]) for row in rows}


async def until(holds: Callable[[set[tuple[str, str]]], bool], connection: Connection) -> None:
    async def held() -> bool:
        return holds(await told(connection))

    await eventually(held)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets heartbeats come so often that nobody has to wait for them; slow answers are answers."""
    monkeypatch.setattr("chat.storage.postgres.lease.BEAT_SECONDS", 0.1)
    monkeypatch.setattr("chat.storage.postgres.side.SILENT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
async def database(connection: Connection) -> Connection:
    """A connection to a database that has an epoch."""
    await judge(connection)
    return connection


@pytest.fixture
async def node(database: Connection, connect: Connect) -> AsyncIterator[Running]:  # noqa: ARG001
    node = Running("one", connect)
    async with node.running():
        yield node


async def test_users_come_and_go(node: Running, database: Connection) -> None:
    node.lease.set_active("ada", True)
    node.lease.set_active("bob", True)
    await until(lambda told: told == {("ada", "one"), ("bob", "one")}, database)
    node.lease.set_active("ada", False)
    node.lease.set_active("ada", True)
    node.lease.set_active("bob", False)
    await until(lambda told: told == {("ada", "one")}, database)
    assert node.lease.is_active("ada")
    assert not node.lease.is_active("bob")


async def test_many_users_are_told_in_parts(node: Running, database: Connection) -> None:
    for number in range(12_000):
        node.lease.set_active(str(number), True)
    await until(lambda told: len(told) == 12_000, database)


async def test_user_that_cannot_be_told_is_left_out(node: Running, database: Connection) -> None:
    for user_id in ("ada", "b\0b", "\ud800", "cyd"):
        node.lease.set_active(user_id, True)
    await until(lambda told: told == {("ada", "one"), ("cyd", "one")}, database)


async def test_lease_ends_by_itself(node: Running, database: Connection) -> None:
    lasts = "SELECT alive_until - clock_timestamp() FROM chat.nodes"
    left = (await database.fetchval(lasts)).total_seconds()
    assert 0 < left <= LEASE_SECONDS
    assert 0 < node.metrics.lease_seconds <= LEASE_SECONDS
    before = await database.fetchval("SELECT alive_until FROM chat.nodes")
    await node.next_beat()
    assert await database.fetchval("SELECT alive_until FROM chat.nodes") > before


async def test_closed_lease_is_taken_back(database: Connection, connect: Connect) -> None:
    one, two = Running("one", connect), Running("two", connect)
    async with two.running() as other:
        other.set_active("ada", True)
        async with one.running() as lease:
            lease.set_active("ada", True)
            lease.set_active("bob", True)
            await until(lambda told: len(told) == 3, database)
        assert await told(database) == {("ada", "two")}
        assert await database.fetchval("SELECT count(*) FROM chat.active") == 1


async def test_emptied_tables_are_filled_again(node: Running, database: Connection) -> None:
    """As after a crash of the server, which keeps no log of them."""
    node.lease.set_active("ada", True)
    await until(lambda told: told == {("ada", "one")}, database)
    await database.execute("TRUNCATE chat.nodes, chat.active")
    await until(lambda told: told == {("ada", "one")}, database)


async def test_rows_of_dead_nodes_are_cleared(
    database: Connection, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.storage.postgres.lease._CLEAR_BEATS", 1)
    monkeypatch.setattr("chat.storage.postgres.lease.LEASE_SECONDS", PATIENCE_SECONDS)
    await database.execute(
        "INSERT INTO chat.nodes VALUES"
        " ('dead', clock_timestamp() - $1::float8 * interval '1 s'), ('late', clock_timestamp())",
        PATIENCE_SECONDS + 1,
    )
    await database.execute(
        "INSERT INTO chat.active SELECT 'ada', node"
        " FROM unnest(ARRAY['dead', 'late', 'lost']) AS of (node)"
    )
    node = Running("one", connect)
    async with node.running() as lease:
        lease.set_active("cyd", True)
        await until(lambda told: told == {("cyd", "one")}, database)
        await node.next_beat()
        rows = await database.fetch("SELECT DISTINCT node FROM chat.active")
        assert {row["node"] for row in rows} == {"late", "one"}
        rows = await database.fetch("SELECT node FROM chat.nodes")
        assert {row["node"] for row in rows} == {"late", "one"}


async def test_lost_connection_is_replaced(node: Running, database: Connection) -> None:
    own = "pid <> pg_backend_pid() AND datname = current_database()"
    await database.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}"  # noqa: S608
    )
    node.lease.set_active("ada", True)
    await until(lambda told: told == {("ada", "one")}, database)
    assert not node.silent.is_set()


@pytest.fixture(scope="module")
def own_server(postgres_programs: None) -> Iterator[Postgres]:  # noqa: ARG001
    """A server whose configuration may be changed."""
    with held(Postgres.running()) as server:
        yield server


@pytest.fixture
async def own_node(own_server: Postgres) -> AsyncIterator[Running]:
    async with own_server.connect() as connection:
        await schema.prepare(connection)
        await judge(connection)
    node = Running("one", lambda: asyncpg.connect(own_server.url("postgres")))
    async with node.running():
        yield node


async def test_lost_answer_is_told_from_a_refusal(database: Connection, connect: Connect) -> None:  # noqa: ARG001
    side = SideConnection(connect, lambda: None)
    with pytest.raises(StoreError) as refused:
        await side.fetch("SELECT no_such_column FROM chat.nodes")
    assert type(refused.value) is StoreError
    with pytest.raises(Unanswered):
        await side.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
    assert len(await side.fetch("SELECT 1")) == 1
    await side.close()


async def test_claim_follows_the_configuration(own_server: Postgres, own_node: Running) -> None:
    async with own_server.connect() as connection:
        verdict = await judge(connection)
        off = Meta(verdict.epoch, Claim(verdict.server, synchronous=False))
        assert await own_node.next_beat() == off
        # No standby is there: a commit would wait for ever, and the heartbeat does not.
        await own_server.configure(synchronous_standby_names="ANY 1 (*)")
        assert await own_node.next_beat() == off._replace(
            claim=Claim(verdict.server, synchronous=True)
        )
        assert own_node.metrics.synchronous == 1
        claim = "SELECT value FROM chat.meta WHERE key = 'synchronous'"
        assert await connection.fetchval(claim) == "on"
        await own_server.configure(synchronous_commit="local")
        assert await own_node.next_beat() == off
        assert await connection.fetchval(claim) == "off"
        assert own_node.metrics.synchronous == 0
        await own_server.configure(synchronous_standby_names="", synchronous_commit="on")


async def test_claim_is_not_made_for_another_server(
    own_server: Postgres, own_node: Running
) -> None:
    """Before it is judged: what the old one did is not known."""
    async with own_server.connect() as connection:
        await connection.execute("UPDATE chat.meta SET value = '1/1' WHERE key = 'server'")
        await own_server.configure(synchronous_standby_names="ANY 1 (*)")
        beat = await own_node.next_beat()
        await own_server.configure(synchronous_standby_names="")
        assert await connection.fetchval(
            "SELECT value FROM chat.meta WHERE key = 'synchronous'"
        ) == ("off")
        assert (await judge(connection)).epoch != beat.epoch


async def test_silent_server_is_noticed(
    own_server: Postgres, own_node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.storage.postgres.side.SILENT_SECONDS", 0.5)
    await own_server.pause()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await own_node.silent.wait()
    await own_server.resume()
    own_node.lease.set_active("ada", True)
    async with own_server.connect() as connection:
        await until(lambda told: told == {("ada", "one")}, connection)


async def test_restarted_server_is_told_again(own_server: Postgres, own_node: Running) -> None:
    """It empties the tables when it has crashed."""
    own_node.lease.set_active("ada", True)
    async with own_server.connect() as connection:
        await until(lambda told: told == {("ada", "one")}, connection)
    await own_server.kill()
    await own_server.start()
    async with own_server.connect() as connection:
        await until(lambda told: told == {("ada", "one")}, connection)
