"""A real PostgreSQL on loopback, with standbys, that can be killed, paused and promoted.

It is found where Debian's packages put it, or on the path; refuses root, as PostgreSQL
does, and so runs as the user `postgres` of the package then. It is small, and does not
wait for the disk unless told to: ``kill -9`` loses nothing without that, as the system
keeps what was written.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.kit import PATIENCE_SECONDS
from tests.kit.homes import home, remove
from tests.kit.ports import free_ports
from tests.kit.server import HOST, POLL_SECONDS, Server

OLDEST: Final = 14
"""The oldest major version that is looked for."""
PACKAGE: Final = "postgresql"
_USER: Final = "postgres"

_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # Files in the folder, which go with it.
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "32MB",
    "max_connections": "200",
    # How soon a standby looks again for its primary.
    "wal_retrieve_retry_interval": "100ms",
    "log_line_prefix": "%m [%p] %a ",
    "timezone": "UTC",
}
_CARELESS: Final = {"fsync": "off", "full_page_writes": "off"}

# The superuser needs no password; any other role does.
_ACCESS: Final = f"""
host all {_USER} {HOST}/32 trust
host replication {_USER} {HOST}/32 trust
host all all {HOST}/32 scram-sha-256
"""


def find_programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest; or `None`."""
    if os.geteuid() == 0 and _USER not in {user.pw_name for user in pwd.getpwall()}:
        return None
    folders = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    found = {int(each.parts[-3]): each.parent for each in folders if each.parts[-3].isdecimal()}
    if found and max(found) >= OLDEST:
        return found[max(found)]
    on_path = shutil.which("postgres")
    if on_path is None:
        return None
    version = subprocess.run([on_path, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    number = re.search(r"\d+", version.stdout)
    return Path(on_path).parent if number and int(number[0]) >= OLDEST else None


class Postgres(Server):
    """One server; see `running`."""

    def __init__(self, folder: Path, programs: Path, settings: dict[str, str]) -> None:
        super().__init__(folder, *free_ports(1))
        self._data = folder / "data"
        self._saved = folder / "saved"
        self._programs = programs
        self._settings = settings

    @classmethod
    @asynccontextmanager
    async def running(cls, *, fsync: bool = False, **settings: str) -> AsyncIterator[Postgres]:
        """Runs a new server; removes it at the end.

        Args:
            fsync: whether commits wait for the disk.
            settings: those of its configuration.
        """
        async with cls._housed(fsync=fsync, **settings) as server:
            await server.make()
            yield server

    @classmethod
    @asynccontextmanager
    async def _housed(cls, *, fsync: bool, **settings: str) -> AsyncIterator[Postgres]:
        programs = find_programs()
        assert programs is not None, f"PostgreSQL is missing: apt-get install {PACKAGE}"
        with home("postgres", _owner()[0]) as folder:
            careless = {} if fsync else _CARELESS
            server = cls(folder, programs, {**_SETTINGS, **careless, **settings})
            try:
                yield server
            finally:
                if server.runs:
                    await server.kill()

    @asynccontextmanager
    async def standby(
        self, *, port: int = 0, fsync: bool = False, **settings: str
    ) -> AsyncIterator[Postgres]:
        """Runs a copy of this server that follows it; see `running` and `join`."""
        async with self._housed(fsync=fsync, **settings) as server:
            await server.join(self, port)
            yield server

    def url(self, database: str, *others: Postgres, user: str = _USER, **parameters: str) -> str:
        """Address of a database, on this server or on whichever of several has it.

        Args:
            database: its name.
            others: further servers.
            user: the role, with its password if it has one: ``ada:secret``.
            parameters: those of the URL.
        """
        hosts = ",".join(each.address for each in (self, *others))
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://{user}@{hosts}/{database}" + (f"?{query}" if query else "")

    @asynccontextmanager
    async def connect(self, database: str = _USER) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection of the superuser."""
        connection = await asyncpg.connect(self.url(database))
        try:
            yield connection
        finally:
            await connection.close()

    async def execute(
        self, statement: str, *arguments: object, database: str = _USER
    ) -> list[asyncpg.Record]:
        """Executes one statement as superuser; returns its rows."""
        async with self.connect(database) as connection:
            return await connection.fetch(statement, *arguments)

    async def save(self) -> None:
        """Keeps a copy of its files, as of now, for `put_back`; it is restarted."""
        await self.stop()
        await self._copy(self._data, self._saved)
        await self.start()

    async def put_back(self) -> None:
        """Takes the copy of `save` for its files, as an operator does with an image of a disk.

        It is killed, and forgets what it has stored since.
        """
        await self.kill()
        remove(self._data)
        await self._copy(self._saved, self._data)
        await self.start()

    async def until(self, question: str, *arguments: object, database: str = _USER) -> None:
        """Waits until a statement answers yes."""
        async with asyncio.timeout(PATIENCE_SECONDS), self.connect(database) as connection:
            while not await connection.fetchval(question, *arguments):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def database(self, name: str, template: str = "template0") -> AsyncIterator[str]:
        """A new database, dropped at the end with all its connections; yields its name."""
        async with self.connect() as connection:
            # Takes less than half of what writing the pages to its log takes, as from 15 on.
            copying = "STRATEGY file_copy" if connection.get_server_version().major >= 15 else ""
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {copying}')
        try:
            yield name
        finally:
            await self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def terminate(self, condition: str = "true", *arguments: object) -> int:
        """Ends connections of clients; returns how many.

        Args:
            condition: which of them, in terms of `pg_stat_activity`.
            arguments: of the condition.
        """
        rows = await self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"  # noqa: S608 - the test's
            f" WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {condition}",
            *arguments,
        )
        return len(rows)

    async def configure(self, **settings: str) -> None:
        """Changes settings that need no restart, and waits until they hold."""
        async with self.connect() as connection:
            for name, value in settings.items():
                await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            await connection.execute("SELECT pg_reload_conf()")
        for name, value in settings.items():
            await self.until("SELECT setting = $2 FROM pg_settings WHERE name = $1", name, value)
        if settings.get("synchronous_standby_names"):
            # Commits wait from when the checkpointer has read it; then it does this.
            await self.execute("CHECKPOINT")

    async def make(self) -> None:
        """Makes an empty one, and starts it."""
        await self._run(
            "initdb", "--no-sync", "--no-instructions", "--auth=trust",
            f"--username={_USER}", "--encoding=UTF8", "--locale=C", f"--pgdata={self._data}",
        )  # fmt: skip
        (self._data / "pg_hba.conf").write_text(_ACCESS)
        await self.start()

    async def stop(self) -> None:
        """Stops it in order: connections are ended, standbys get everything first."""
        await self._end(signal.SIGINT)

    async def require_standby(self) -> None:
        """Makes commits wait for a standby, any; waits until there is one."""
        await self.configure(synchronous_standby_names="ANY 1 (*)")
        await self.until("SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'quorum'")

    async def caught_up(self, standby: Postgres) -> None:
        """Waits until a standby has all that is stored here now."""
        [row] = await self.execute("SELECT pg_current_wal_lsn()::text")
        await standby.until("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", row[0])

    async def promote(self) -> None:
        """Makes a standby the primary; the old one must be dead, or be left alone."""
        [row] = await self.execute(f"SELECT pg_promote(true, {PATIENCE_SECONDS:.0f})")
        assert row[0]

    async def join(self, primary: Postgres, port: int = 0) -> None:
        """Becomes a standby of another server, and forgets what it had.

        It takes settings that were changed by `configure` over from the other one.

        Args:
            primary: the other one.
            port: of another way to it, such as a link.
        """
        if self._process is not None:
            await self.kill()
        if self._data.exists():
            remove(self._data)
        name = f"dbname={_USER} application_name=standby_{self.port}"
        await self._run(
            "pg_basebackup", "--no-sync", "--checkpoint=fast", "--wal-method=stream",
            "--write-recovery-conf", f"--pgdata={self._data}", f"--username={_USER}",
            f"--host={HOST}", f"--port={port or primary.port}", f"--dbname={name}",
        )  # fmt: skip
        await self.start()

    async def _answers(self) -> bool:
        """As in pg_ctl: the file of the running server says so in its last line."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False  # not yet, or not any more: that of one that was killed goes first
        return len(lines) == 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {"port": str(self.port), **self._settings}
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        command += [f"--{name}={value}" for name, value in options.items()]
        owner, groups = _owner()
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - ours
                command, stdout=log, stderr=log, start_new_session=True,
                user=owner, group=owner, extra_groups=groups,
            )  # fmt: skip

    async def _copy(self, source: Path, target: Path) -> None:
        await self._run("cp", "-Rp", str(source), str(target))

    async def _run(self, program: str, *arguments: str) -> None:
        found = self._programs / program

        def run() -> None:
            owner, groups = _owner()
            done = subprocess.run(  # noqa: S603 - ours
                [str(found) if found.exists() else program, *arguments],
                capture_output=True, text=True, check=False,
                user=owner, group=owner, extra_groups=groups,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr

        await asyncio.to_thread(run)


def _owner() -> tuple[str | None, list[str] | None]:
    """The user of its processes, where it is not the present one, and further groups."""
    return (_USER, []) if os.geteuid() == 0 else (None, None)
