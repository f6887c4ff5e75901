"""`deploy/postgres/start.sh`: three real PostgreSQL servers, the first of which dies."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from asyncpg.connect_utils import SessionAttribute

from tests.deploy.nginx import DEPLOY
from tests.kit import PATIENCE_SECONDS
from tests.kit.homes import home, kill, remove
from tests.kit.ports import free_ports
from tests.kit.postgres import find_programs
from tests.support import eventually

# In each place where a text needs it: in a file of passwords, in SQL, in a shell.
PASSWORDS: Final = {"chat": "c'hat$", "replicator": "re:pli\\cator"}
HOSTS: Final = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
# One wait in the server instead of many questions.
_UNTIL: Final = """DO $$ BEGIN
    WHILE '{names}' IS DISTINCT FROM (
        SELECT string_agg(application_name, ',' ORDER BY application_name)
        FROM pg_stat_replication WHERE sync_state = 'quorum' AND state = 'streaming'
    ) LOOP PERFORM pg_sleep(0.02), pg_stat_clear_snapshot(); END LOOP;
END $$"""
OWNER: Final = "postgres" if os.geteuid() == 0 else None


class Node:
    """One of the servers, at an address of its own and the port of all."""

    def __init__(self, folder: Path, programs: Path, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.folder = folder / host
        self.data = self.folder / "data"
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGPORT": str(port),
            "PGDATA": str(self.data),
            "NODE": host,
            "NODES": ",".join(HOSTS),
            "SECRETS": str(folder / "secrets"),
        }
        self.folder.mkdir()
        shutil.chown(self.folder, OWNER or os.geteuid())
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = [
            "bash", str(self.folder.parent / "start.sh"), "-c", f"listen_addresses={self.host}",
            "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                script, cwd=self.folder, env=self._environment, stdout=log, stderr=log, user=OWNER,
                group=OWNER, extra_groups=[] if OWNER else None, start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def accepts(self) -> bool:
        """Whether it was started, and has said so."""
        return "database system is ready to accept" in self.log.read_text()

    def wait(self) -> int:
        """Waits for its end."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        kill(self.folder)
        self.wait()

    def run(self, program: str, *arguments: str) -> str:
        """Runs a program as the superuser of the machine's own users."""
        done = subprocess.run(  # noqa: S603 - ours
            [program, *arguments], capture_output=True, text=True,
            env=self._environment, cwd=self.folder, user=OWNER, group=OWNER,
            extra_groups=[] if OWNER else None, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + self.log.read_text()
        return done.stdout

    async def followed_by(self, *others: "Node") -> None:
        """Waits until exactly these are standbys that a commit may wait for."""
        await eventually(self.accepts)
        names = ",".join(sorted(node.host for node in others))
        await asyncio.to_thread(
            self.run, "psql", "--host", str(self.folder), "--username", "postgres", "--command",
            _UNTIL.format(names=names),
        )  # fmt: skip


@pytest.fixture
def nodes(postgres_programs: None) -> Iterator[Sequence[Node]]:  # noqa: ARG001
    """Three that are not started."""
    if sys.platform != "linux":
        pytest.skip("loopback has one address elsewhere")
    programs = find_programs()
    assert programs is not None
    with home("postgres-nodes", OWNER) as folder:
        shutil.copy(DEPLOY / "postgres/start.sh", folder)
        secrets = folder / "secrets"
        secrets.mkdir()
        for name, password in PASSWORDS.items():
            (secrets / f"{name}.password").write_text(f"{password}\n")
        [port] = free_ports(1)
        made = [Node(folder, programs, host, port) for host in HOSTS]
        yield made
        kill(folder)
        for node in made:
            node.wait()


async def connect(nodes: Sequence[Node], database: str = "chat") -> "asyncpg.Connection[Any]":
    """As a chat server does, to whichever takes writes."""
    hosts = ",".join(f"{node.host}:{node.port}" for node in nodes)
    return await asyncpg.connect(
        f"postgresql://chat@{hosts}/{database}", password=PASSWORDS["chat"],
        target_session_attrs=SessionAttribute.read_write,
    )  # fmt: skip


async def test_nothing_confirmed_is_lost_with_the_first_server(nodes: Sequence[Node]) -> None:
    first, second, third = nodes
    for node in nodes:
        node.start()
    await first.followed_by(second, third)
    # The role of the chat owns its database, and sees no other.
    connection = await connect(nodes)
    await connection.execute("CREATE SCHEMA chat; CREATE TABLE chat.it (number integer)")
    await connection.execute("INSERT INTO chat.it VALUES (1)")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await connect(nodes, "postgres")

    first.kill()
    second.run("pg_ctl", "--pgdata", str(second.data), "--wait", "promote")
    connection = await connect(nodes)
    await connection.execute("INSERT INTO chat.it VALUES (2)")
    assert await connection.fetchval("SELECT array_agg(number) FROM chat.it") == [1, 2]
    await second.followed_by(third)

    # The old primary does not become a second one.
    first.start()
    assert first.wait() == 1
    assert "another server takes writes" in first.log.read_text()
    remove(first.data)
    first.start()
    await second.followed_by(first, third)
    await connection.close()

    # A planned change: the old one has given everything away, and just follows.
    second.run("pg_ctl", "--pgdata", str(second.data), "--mode", "fast", "stop")
    assert second.wait() == 0
    third.run("pg_ctl", "--pgdata", str(third.data), "--wait", "promote")
    second.run("touch", str(second.data / "standby.signal"))
    second.start()
    await third.followed_by(first, second)
    connection = await connect(nodes)
    await connection.execute("INSERT INTO chat.it VALUES (3)")
    assert await connection.fetchval("SELECT array_agg(number) FROM chat.it") == [1, 2, 3]
    await connection.close()
