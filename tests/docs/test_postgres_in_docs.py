"""The commands for PostgreSQL in the operations guide, on a real one."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

import chat
from chat.storage.base import StoreUnusable
from chat.storage.postgres.address import Address
from gen.chat import ChatServiceStub, GetChatHistoryRequest
from tests.docs.markdown import ROOT, section
from tests.kit.postgres import Postgres, find_programs
from tests.support import ChatCall, channel_to, message, seqs

PAGE: Final = ROOT / "docs/operations.md"
SETTINGS: Final = ROOT / "deploy/postgres/nodes.conf"
PASSWORD: Final = "secret"  # noqa: S105


def scripts(title: str, *programs: str) -> list[str]:
    """The scripts of a section that run one of these programs."""
    return [
        block.text
        for block in section(PAGE, title).blocks
        if block.info == "sh" and any(program in block.text for program in programs)
    ]


def settings() -> dict[str, Any]:
    """The settings for several nodes; what is of one machine is left to the test."""
    lines = re.findall(r"^(\w+) = (.*)$", SETTINGS.read_text("utf-8"), re.MULTILINE)
    return {name: value.strip("'") for name, value in lines if name != "listen_addresses"}


async def run(script: str, server: Postgres, folder: Path) -> str:
    """Runs a script as if all its hosts were a server; returns its output."""
    script = re.sub(r"runuser -u \w+ -- |systemctl .*", "", script)
    script = script.replace("@db1,db2,db3/", f"@127.0.0.1:{server.port}/")
    # It has no certificate.
    script = re.sub(r"\?sslmode=[^\s\"]*", "", script)
    script = script.replace("/opt/chat/bin", str(Path(sys.executable).parent))
    script = re.sub(r"/etc/chat\b|/var/lib/chat\b", str(folder), script)
    script = re.sub(r"\bdb[123]\b", "127.0.0.1", script).replace("replicator", "postgres")
    script = script.replace("/var/backups", str(folder)).replace("chat.dump", f"{folder}/chat.dump")
    environment = {
        **os.environ,
        "PATH": f"{find_programs()}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres",
        "PGPASSWORD": PASSWORD, "PGDATA": str(folder / "copy"),
    }  # fmt: skip
    done = await asyncio.to_thread(
        subprocess.run, ["/bin/bash", "-euc", script],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture
async def server(postgres_programs: None) -> AsyncIterator[Postgres]:  # noqa: ARG001
    """The first of three, while there is no other: no commit ends by itself."""
    async with Postgres.running(**settings()) as server:
        yield server


async def test_database_is_made_filled_saved_and_restored(server: Postgres, tmp_path: Path) -> None:
    [make_roles] = scripts("PostgreSQL for several nodes", "roles.sql")
    await run(make_roles, server, tmp_path)
    async with server.connect() as connection:
        # No standby comes: from now on no commit waits for one.
        await connection.execute("SET synchronous_commit = local")
        await connection.execute("ALTER DATABASE chat SET synchronous_commit = local")
        # As an operator does by \password.
        for role in ("chat_owner", "chat"):
            await connection.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")

    # Whoever owns nothing says so; then the owner brings the history of a file, and it works.
    with pytest.raises(StoreUnusable, match="owner"):
        await posts(server.url("chat", user=f"chat:{PASSWORD}"), 1)
    file = str(tmp_path / "chat.db")
    epoch = await posts(file, 1)
    for name in ("owner.password", "postgres.password"):
        (tmp_path / name).write_text(f"{PASSWORD}\n")
    [bring] = scripts("From one file to PostgreSQL", "chat-import")
    await run(bring, server, tmp_path)
    database = server.url("chat", user=f"chat:{PASSWORD}")
    assert await posts(database, 2) == epoch
    connection = await asyncpg.connect(server.url("chat", user=f"chat:{PASSWORD}"))
    for statement in (
        "CREATE TABLE chat.more ()",
        "CREATE TABLE public.more ()",
        "CREATE SCHEMA s",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()

    [save] = scripts("Backup of PostgreSQL", "pg_dump")
    [restore] = scripts("Backup of PostgreSQL", "pg_restore")
    await run(save, server, tmp_path)
    await posts(database, 3)
    await run(restore, server, tmp_path)
    [rotate] = scripts("After a restore", "chat-epoch")
    await run(rotate, server, tmp_path)
    # Another message at this position, so it is another history.
    assert await posts(database, 3) != epoch

    [copy] = scripts("Backup of PostgreSQL", "pg_basebackup")
    (tmp_path / "postgresql").mkdir()
    await run(copy, server, tmp_path)
    [follow] = scripts("PostgreSQL for several nodes", "pg_basebackup")
    await run(follow, server, tmp_path)
    assert (tmp_path / "copy/standby.signal").exists()


async def posts(database: str, seq: int) -> str:
    """Starts a chat server, which stores the message of this position; returns the epoch."""
    config = chat.Config(host="127.0.0.1", port=0, database=database)
    async with (
        chat.serve(config) as running,
        channel_to(running) as channel,
        ChatCall(ChatServiceStub(channel)) as ada,
    ):
        assert (await ada.post(message("lobby"))).seq == seq
        history = await ChatServiceStub(channel).get_chat_history(GetChatHistoryRequest("lobby"))
        assert seqs(history.messages) == list(range(1, seq + 1))
        return history.epoch


def test_addresses_can_be_read() -> None:
    files = (PAGE, *(ROOT / "deploy").glob("**/*.y*ml"), *(ROOT / "deploy").glob("systemd/*"))
    found = [
        address
        for file in files
        for address in re.findall(r"postgresql://[^\s`\"]+", file.read_text("utf-8"))
    ]
    assert len(found) > 5
    for address in found:
        assert Address.parse(address).shown.endswith("/chat")


def test_settings_are_those_of_containers() -> None:
    script = (ROOT / "deploy/postgres/start.sh").read_text("utf-8")
    [written] = re.findall(r'nodes\.conf" <<END\n(.*?)\nEND\n', script, re.DOTALL)
    ours = dict(re.findall(r"^(\w+) = (.*)$", written, re.MULTILINE))
    plain = {**settings(), "listen_addresses": "*"}
    assert ours.keys() == plain.keys()
    for name, value in ours.items():
        if "$" not in value:
            assert value.strip("'") == plain[name], name
