"""The PostgreSQL and the Valkey that tests run: what they can do, and that nothing stays."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.kit.homes import inhabitants
from tests.kit.ports import free_ports
from tests.kit.postgres import Postgres
from tests.kit.processes import ROOT
from tests.kit.valkey import Valkey, cluster
from tests.support import eventually

_RUN = """
import asyncio, signal, sys
from tests.kit.{module} import {kind}

async def main():
    async with {kind}.running() as server:
        print(server._folder, flush=True)
        await asyncio.Event().wait()

# Whoever runs in the background is started without it.
signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main())
"""


async def count(server: Postgres, table: str = "t") -> int:
    [row] = await server.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - ours
    number: int = row[0]
    return number


def test_port_is_nobody_elses() -> None:
    """Also while nobody listens on it."""
    [port] = free_ports(1)
    program = f"from tests.kit.ports import free_ports; free_ports(1, [{port}])"
    refused = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "no port is free" in refused.stderr


async def test_database_is_new_and_goes(postgres: Postgres, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE t ()")
    name = await connection.fetchval("SELECT current_database()")
    async with postgres.database("copy", template="template0"):
        assert len(await postgres.execute("SELECT FROM pg_database WHERE datname = 'copy'")) == 1
    assert len(await postgres.execute("SELECT FROM pg_database WHERE datname = 'copy'")) == 0
    assert await postgres.terminate("datname = $1", name) == 1
    await eventually(connection.is_closed)


@pytest.mark.usefixtures("postgres_programs")
async def test_postgres_goes_through_a_failover() -> None:
    async with Postgres.running() as first, first.standby() as second:
        await first.require_standby()
        await first.execute("CREATE TABLE t ()")
        await first.execute("INSERT INTO t DEFAULT VALUES")

        await first.kill()
        await first.start()
        assert await count(first) == 1

        await second.pause()
        waits = asyncio.create_task(first.execute("INSERT INTO t DEFAULT VALUES"))
        await eventually(
            lambda: first.execute("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        )
        await second.resume()
        await waits

        await first.kill()
        await second.promote()
        either = await asyncpg.connect(
            first.url("postgres", second, target_session_attrs="read-write")
        )
        assert await either.fetchval("SELECT count(*) FROM t") == 2
        await either.close()

        await first.join(second)
        await second.require_standby()
        await second.execute("INSERT INTO t DEFAULT VALUES")
        await second.restart()
        assert await count(second) == 3
        await eventually(lambda: _has(first, 3))
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await first.execute("INSERT INTO t DEFAULT VALUES")


@pytest.mark.usefixtures("postgres_programs")
async def test_postgres_is_put_back_to_what_it_was() -> None:
    async with Postgres.running() as server:
        await server.execute("CREATE TABLE t ()")
        await server.save()
        await server.execute("INSERT INTO t DEFAULT VALUES")
        await server.put_back()
        assert await count(server) == 0


async def _has(server: Postgres, number: int) -> bool:
    return await count(server) == number


async def test_valkey_can_be_killed_and_started(valkey_program: None) -> None:  # noqa: ARG001
    async with Valkey.running() as server:
        assert "redis_version:" in await server.command("INFO")
        await server.kill()
        with pytest.raises(OSError, match="Connect"):
            await server.command("PING")
        await server.start()
        assert await server.command("SPUBLISH", "channel", "hello") == ":0\r\n"


async def test_valkey_cluster_shares_the_slots(valkey_program: None) -> None:  # noqa: ARG001
    async with cluster() as servers:
        answers = [await each.command("SPUBLISH", "channel", "hello") for each in servers]
        assert sorted(answer[:6] for answer in answers) == ["-MOVED", "-MOVED", ":0\r\n"]


@pytest.mark.usefixtures("postgres_programs", "valkey_program")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize(("module", "kind"), [("postgres", "Postgres"), ("valkey", "Valkey")])
async def test_nothing_stays_of_killed_tests(
    module: str, kind: str, number: signal.Signals
) -> None:
    program = _RUN.format(module=module, kind=kind)
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - ours
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    folder = Path((await asyncio.to_thread(process.stdout.readline)).decode().strip())
    assert inhabitants(folder)
    process.send_signal(number)
    await asyncio.to_thread(process.communicate)
    await eventually(lambda: not folder.exists())
    assert not inhabitants(folder)
