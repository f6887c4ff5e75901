"""A database that others have set up, locked, or changed behind the program's back."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import Final

import pytest

from chat.storage.base import StoreError
from chat.storage.listener import Head
from tests.chat.storage.postgres.nodes import node as a_node
from tests.kit.postgres import Postgres
from tests.support import PATIENCE_SECONDS, message, seqs

# What a role or a database may set for all of its sessions; each once did harm to somebody.
_SETTINGS: Final = {
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "200ms",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "search_path": "evil",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "enable_indexscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "plpgsql.extra_errors": "all",
    "plpgsql.variable_conflict": "use_variable",
    "check_function_bodies": "off",
    "quote_all_identifiers": "on",
    "max_parallel_workers_per_gather": "0",
    "row_security": "off",
}


@pytest.fixture
def name(postgres_url: str) -> str:
    """The name of an empty database."""
    return postgres_url.rpartition("/")[2]


async def test_settings_of_others_change_nothing(postgres: Postgres, name: str) -> None:
    async with postgres.connect(name) as connection:
        await connection.execute("CREATE SCHEMA evil")
        # In front of the system's, for whoever does not qualify a name.
        await connection.execute(
            "CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
            " AS $$ SELECT '1999-01-01'::timestamptz $$"
        )
        for setting, value in _SETTINGS.items():
            await connection.execute(f"""ALTER DATABASE "{name}" SET {setting} = '{value}'""")
    async with a_node(postgres.url(name), "room") as node:
        text = "naïve 🙂 'quoted' \\ backslash\n"
        first, again, second = await asyncio.gather(
            *(node.store.append([message("room", text, key=key)]) for key in ("1", "1", "2"))
        )
        assert again == first
        stored = await node.stored("room")
        assert stored == [*first, *second]
        assert {each.content for each in stored} == {text}
        assert node.announced == stored
        age = await postgres.execute(
            "SELECT clock_timestamp() - $1::timestamptz", stored[0].sent_at
        )
        assert 0 <= age[0][0].total_seconds() < 60
        await node.store.upsert_user("ada", "Ada", "")
        # Longer than an idle session may live.
        await asyncio.sleep(0.4)
        assert seqs(await node.store.append([message("room", key="3")])) == [3]
        assert node.metrics.reconnects == 0


async def test_many_nodes_find_an_empty_database_at_once(postgres: Postgres, name: str) -> None:
    async with AsyncExitStack() as stack:
        nodes = await asyncio.gather(
            *(stack.enter_async_context(a_node(postgres.url(name))) for _ in range(8))
        )
        assert len({node.store.epoch for node in nodes}) == 1
        await asyncio.gather(*(node.store.append([message()]) for node in nodes[:1]))


async def test_crossing_batches_of_many_nodes_wait_in_no_circle(
    postgres: Postgres, name: str
) -> None:
    """New users and rooms of each batch are in another order, and each message comes twice."""
    rooms = [f"room {number}" for number in range(6)]
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(a_node(postgres.url(name))) for _ in range(3)]
        keys = map(str, itertools.count())
        orders = itertools.cycle(itertools.islice(itertools.permutations(rooms), 0, None, 97))
        waiting = []
        for _ in range(15):
            key, order = next(keys), next(orders)
            for node, turn in zip(nodes, (order, order[::-1], order[3:] + order[:3]), strict=True):
                batch = [message(room, key=key, sender_id=f"{room} {key}") for room in turn]
                waiting.append(node.store.append(batch))
            await asyncio.sleep(0)
        results = await asyncio.gather(*waiting)
        for room in rooms:
            stored = await nodes[0].stored(room)
            assert seqs(stored) == list(range(1, 16))
            times = [each.sent_at for each in stored]
            assert times == sorted(times)
            told = {
                each.id: each.seq for batch in results for each in batch if each.room_id == room
            }
            assert told == {each.id: each.seq for each in stored}


async def test_lock_of_somebody_is_waited_for(postgres: Postgres, name: str) -> None:
    """Such as one of a maintenance command."""
    async with a_node(postgres.url(name), "room") as node:
        await node.store.append([message(key="1")])
        async with postgres.connect(name) as connection, connection.transaction():
            await connection.execute("LOCK TABLE chat.rooms IN ACCESS EXCLUSIVE MODE")
            waits = node.store.append([message(key="2")])
            await postgres.until(
                "SELECT count(*) > 0 FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = $1",
                name,
            )
            assert not waits.done()
        assert seqs(await waits) == [2]


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_cut_off_statement_is_made_again(
    postgres: Postgres, name: str, function: str
) -> None:
    async with a_node(postgres.url(name), "room") as node:
        await node.store.append([message(key="1")])
        async with postgres.connect(name) as connection, connection.transaction():
            await connection.execute("LOCK TABLE chat.rooms IN ACCESS EXCLUSIVE MODE")
            waits = node.store.append([message(key="2")])
            # Once more while the next attempt waits.
            for _ in range(2):
                await postgres.until(
                    f"SELECT count(*) > 0 FROM (SELECT {function}(pid) FROM pg_stat_activity"  # noqa: S608
                    " WHERE wait_event_type = 'Lock' AND datname = $1) AS cut",
                    name,
                )
        assert seqs(await waits) == [2]
        assert seqs(node.announced) == [1, 2]


async def test_full_room_harms_no_other(postgres: Postgres, name: str) -> None:
    """At the greatest position that there is."""
    async with a_node(postgres.url(name), "other") as node:
        await node.store.append([message("room", key="1")])
        await postgres.execute(
            "UPDATE chat.rooms SET head = 4294967294 WHERE room_id = 'room'", database=name
        )
        await node.store.follow("room")
        [last] = await node.store.append([message("room", key="2")])
        assert last.seq == 4294967295
        results = await asyncio.gather(
            node.store.append([message("room", key="3")]),
            node.store.append([message("other", key="3")]),
            return_exceptions=True,
        )
        assert isinstance(results[0], StoreError)
        assert not isinstance(results[1], BaseException)
        assert seqs(results[1]) == [1]


def cut_tail(room: str) -> str:
    return (
        f"WITH gone AS (DELETE FROM chat.messages USING chat.rooms"  # noqa: S608
        f" WHERE rooms.room = messages.room AND room_id = '{room}' AND seq > 1)"
        f" UPDATE chat.rooms SET head = 1 WHERE room_id = '{room}'"
    )


@pytest.mark.parametrize(
    ("followed", "cut"),
    [(True, True), (False, True), (True, False)],
    ids=["followed", "acknowledged", "under the program's eyes"],
)
async def test_position_is_not_given_twice_under_one_epoch(
    postgres: Postgres, name: str, followed: bool, cut: bool
) -> None:
    """What was acknowledged is gone, and the server seems the same: an old image, say."""
    async with a_node(postgres.url(name), *(["room"] if followed else [])) as node:
        for key in "123":
            await node.store.append([message(key=key)])
        before = node.store.epoch
        await postgres.execute(cut_tail("room"), database=name)
        if cut:
            await postgres.terminate("datname = $1", name)
        async with asyncio.timeout(PATIENCE_SECONDS):
            [again] = await node.store.append([message(key="4")])
        assert again.seq == 2
        assert node.store.epoch != before
        assert node.renewed == ([{"room": Head(1)}] if followed else [{}])


async def test_dropped_database_is_told(postgres: Postgres, name: str) -> None:
    """Nothing of it is there any more, and the node does not take another one for it."""
    async with a_node(postgres.url(name), "room") as node:
        await node.store.append([message(key="1")])
        await postgres.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        with pytest.raises(StoreError):
            await node.store.append([message(key="2")])
        assert not node.store.health.is_serving
        await postgres.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        with pytest.raises(StoreError):
            await node.store.append([message(key="2")])
        assert not node.store.health.is_serving
