"""A database with the tables of the engine."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from chat.storage.postgres import schema
from chat.storage.postgres.connections import Connection

Connect = Callable[[], Awaitable[Connection]]


@pytest.fixture
async def connect(postgres_url: str) -> AsyncIterator[Connect]:
    """Opens connections to a database with tables, which are closed at the end."""
    opened: list[Connection] = []

    async def connect() -> Connection:
        connection = await asyncpg.connect(postgres_url)
        opened.append(connection)
        return connection

    await schema.prepare(await connect())
    yield connect
    for connection in opened:
        connection.terminate()


@pytest.fixture
async def connection(connect: Connect) -> Connection:
    """A connection to it."""
    return await connect()
