"""What was deleted is not in the tables' files any more, once they were written anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from chat.storage.changes import Change
from chat.storage.listener import Listener
from chat.storage.postgres import PostgresStore
from chat.storage.postgres.maintenance import open_database
from chat.storage.postgres.scrub import scrub
from gen.chat import ChangeMessageRequest
from tests.support import message

# Nothing else has so many of these letters in a row.
SECRET = re.compile(rb"[Q-Z]{16}")
# The last is long enough for TOAST, and random enough not to be packed there.
SIZES = (20, 300, 2_000, 16_000)


def found(folder: Path) -> set[str]:
    """The files below a folder with a piece of a secret in them."""
    return {path.name for path in _files(folder) if SECRET.search(path.read_bytes())}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def store(postgres_url: str) -> PostgresStore:
    return await PostgresStore.open(postgres_url, Listener(), 1 << 20)


async def test_tables_are_written_anew(store: PostgresStore, postgres_url: str) -> None:
    random = Random(8)  # noqa: S311 - for a test
    sent = []
    for nth in range(24):
        text = "".join(random.choices("QRSTUVWXYZ", k=SIZES[nth % 4]))
        sent += await store.append([message("room", text, key=str(nth))])
    async with open_database(postgres_url) as connection:
        row = await connection.fetchrow(
            "SELECT current_setting('data_directory'), oid::text FROM pg_database"
            " WHERE datname = current_database()"
        )
        assert row is not None
        data, number = Path(row[0]), row[1]
        # So that the planner has samples, too.
        await connection.execute("ANALYZE chat.messages")
        for each in sent[:12]:
            await store.change(
                Change(ChangeMessageRequest("room", each.seq, "ada", content=f"new {each.seq}"))
            )
        while not (await store.erase("ada", 100)).done:
            pass
        await store.close()
        await connection.execute("CHECKPOINT")
        assert found(data / "base" / number)
        lines: list[str] = []
        size = await scrub(connection, lines.append)
    assert size > 0
    assert any("chat.messages_0" in line for line in lines)
    assert found(data / "base" / number) == set()
    # As the docs say: the log has it for a while.
    assert found(data / "pg_wal")
