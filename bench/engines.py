"""What the servers of a target share: a database, or a bus between them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kit import postgres, valkey
from tests.kit.postgres import Postgres
from tests.kit.valkey import Valkey

# Usual values for a small server; the kit's own are for tests.
_SETTINGS: Final = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
_DATABASE: Final = "chat"


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine.

    Attributes:
        url: where servers find it: a path, or a URL.
        pids: its processes; those that they started count with them.
        hints: the URL of the bus that tells nodes of messages; empty if it is the database.
    """

    url: str
    pids: tuple[int, ...] = ()
    hints: str = ""


Start = Callable[[Path], AbstractAsyncContextManager[Engine]]
"""Runs an engine, given a folder for a file."""


@asynccontextmanager
async def file(folder: Path) -> AsyncIterator[Engine]:
    """A file in the folder, for one server: there is nothing to start."""
    yield Engine(str(folder / "chat.db"))


@asynccontextmanager
async def postgresql(_: Path) -> AsyncIterator[Engine]:
    """An empty database of PostgreSQL, whose commits wait for the disk."""
    async with (
        Postgres.running(fsync=True, **_SETTINGS) as server,
        server.database(_DATABASE) as name,
    ):
        yield Engine(server.url(name), (server.pid,))


@asynccontextmanager
async def postgresql_with_valkey(folder: Path) -> AsyncIterator[Engine]:
    """The same, with hints through Valkey or Redis."""
    async with postgresql(folder) as database, Valkey.running() as bus:
        yield Engine(database.url, (*database.pids, bus.pid), bus.url)


@asynccontextmanager
async def redis(_: Path) -> AsyncIterator[Engine]:
    """Valkey or Redis, which keeps nothing on disk."""
    async with Valkey.running() as server:
        yield Engine(f"redis://{server.address}", (server.pid,))


def missing_postgresql() -> str | None:
    """What has to be installed for `postgresql`; `None` if nothing."""
    return None if postgres.find_programs() else f"PostgreSQL ({postgres.PACKAGE})"


def missing_redis() -> str | None:
    """What has to be installed for `redis`; `None` if nothing."""
    return None if valkey.find_program() else f"Valkey or Redis ({valkey.PACKAGE})"
