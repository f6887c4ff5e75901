"""The command ``python -m chat.commands.import_sqlite``: from one file to PostgreSQL.

It goes over the file twice: once to store batches, each with a note of how far it has come, and
once to compare. When it was killed, it goes on behind the last batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from chat.commands.on_postgres import password_file, run_on_postgres
from chat.storage.base import StoreUnusable
from chat.storage.sqlite.export import Source, StoredMessage, StoredState, StoredUser
from hosting.command import StartError, ready, run_command
from hosting.options import TEXT, TextPath

if TYPE_CHECKING:
    from chat.storage.postgres.connections import Connection
    from chat.storage.postgres.importing import Import

# One batch, which is made again if the import is killed meanwhile.
_MOST: Final = 10_000
_MOST_BYTES: Final = 8 * 1024 * 1024
# How many messages, in whole rooms, are compared by one statement.
_COMPARED: Final = 100_000

Item = TypeVar("Item", StoredMessage, StoredUser)


@click.command(
    name="chat-import",
    help="Bring all that the SQLite file SOURCE has into the PostgreSQL database DATABASE (a URL),"
    " which must be empty. No server may use either of them. The history goes on: clients resume"
    " where they were. If it is cut short, run it again.",
)
@click.argument("source", type=TextPath(path_type=Path))
@click.argument("database", type=TEXT, envvar="CHAT_DATABASE")
@password_file
def command(source: Path, database: str, password_file: str) -> None:
    """Brings it, and says how far it has come."""
    with ExitStack() as undo:
        try:
            found = Source.open(source, undo)
        except StoreUnusable as error:
            raise StartError(str(error)) from error

        async def work(connection: Connection) -> str:
            return await bring(found, connection)

        ready(run_on_postgres(database, password_file, work))


async def bring(source: Source, connection: Connection, most: int = _MOST) -> str:
    """Brings all that a file has; returns a line for people.

    Args:
        source: the file.
        connection: to the database.
        most: how many messages or users one transaction has at most.

    Raises:
        StoreUnusable: it cannot be done.
    """
    # What it needs need not be installed.
    from chat.storage.postgres.importing import Import

    async with Import.begin(connection, source.epoch) as target:
        users = await _bring_users(source, target, most)
        await _bring_messages(source, target, most)
        await _bring_changes(source, connection, most)
        messages, rooms = await _compare(source, target)
        await target.finish(rooms, messages, users)
    return f"imported {messages} messages of {rooms} rooms, and {users} users"


async def _bring_users(source: Source, target: Import, most: int) -> int:
    number = 0
    for batch in _batches(source.users(target.progress.user_id), most):
        await target.add_users(batch)
        number += len(batch)
        _say(f"{number} users")
    return sum(1 for _ in source.users(""))


async def _bring_messages(source: Source, target: Import, most: int) -> None:
    total = source.count_messages()
    progress = target.progress
    number = await target.count_messages()
    for batch in _batches(source.messages(progress.room, progress.seq), most):
        await target.add_messages(batch, source.rooms)
        number += len(batch)
        _say(f"{number} of {total} messages")


async def _bring_changes(source: Source, connection: Connection, most: int) -> None:
    """Brings what became of messages and rooms, with marks and erasures; and compares it."""
    from chat.storage.postgres import importing_changes as changes

    # A room itself has a row in the place of a message 0.
    infos = (
        StoredState(info.room, 0, number, 0, *columns)
        for info in source.infos()
        for number, *columns in [changes.info_columns(*info)]
    )
    changed = dict(source.changes)
    await changes.add_rooms(connection, {room: source.rooms[room] for room in changed})
    tables: list[tuple[changes.Rows, Iterable[Sequence[changes.Value]]]] = [
        (changes.STATES, chain(source.states(), infos)),
        (changes.REACTIONS, source.reactions()),
        (changes.MENTIONS, source.mentions()),
        (changes.MARKS, source.marks()),
        (changes.ERASURES, ((user_id,) for user_id in source.erasures())),
    ]
    for table, rows in tables:
        sums = changes.Sums()
        left = iter(rows)
        while batch := list(islice(left, most)):
            await table.add(connection, batch)
            sums.add(batch)
            states = [row for row in batch if isinstance(row, StoredState)]
            await changes.note_deletions(
                connection,
                [(row.room, row.seq, row.state) for row in states if row.state is not None],
            )
            changed |= {row.room: source.changes.get(row.room, 0) for row in states}
            _say(f"{sums.number} of {table.name}")
        await table.compare(connection, sums)
    await changes.note_changes(connection, changed)


async def _compare(source: Source, target: Import) -> tuple[int, int]:
    """Compares each room; returns the number of messages and of rooms."""
    from chat.storage.postgres.importing import Sums

    messages = 0
    # Those that were only set have no messages.
    rooms = set(source.changes)
    sums = Sums()
    for number, room in groupby(source.messages(), lambda message: message.room):
        for message in room:
            sums.add(message)
            messages += 1
        rooms.add(number)
        if sums.messages >= _COMPARED:
            await target.compare(sums)
            sums = Sums()
            _say(f"{messages} messages compared")
    await target.compare(sums)
    return messages, len(rooms)


def _batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += sum(len(part) for part in item if isinstance(part, str))
        if len(batch) == most or size >= _MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _say(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """The console script ``chat-import``."""
    run_command(command, "chat-import")


if __name__ == "__main__":
    run_command(command, "python -m chat.commands.import_sqlite")
