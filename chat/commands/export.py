"""The command ``python -m chat.commands.export``, and ``python -m chat.export``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from chat.commands.on_postgres import either_database, is_url, password_file, run_on_postgres
from chat.commands.users import UserId
from chat.storage.base import StoreUnusable
from chat.storage.sqlite.personal import personal_data
from hosting import private
from hosting.command import StartError, run_command
from hosting.options import TextPath

if TYPE_CHECKING:
    from chat.storage.postgres.connections import Connection

_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY

Write = Callable[[bytes], object]


@click.command(
    name="chat-export",
    help="Print all that is stored of USER as lines of JSON: profile, read marks, messages,"
    " reactions, and the messages that mention the user. Servers may go on to use the database.",
)
@click.argument("user", type=UserId())
@either_database
@password_file
@click.option(
    "--output",
    type=TextPath(dir_okay=False, path_type=Path),
    help="Write to this new file, which nobody else may read, and print nothing.",
)
def command(user: str, database: str, password_file: str, output: Path | None) -> None:
    """Prints it, or writes it to a file."""
    if output is None:
        try:
            _export(user, database, password_file, sys.stdout.buffer.write)
            sys.stdout.flush()
        except BrokenPipeError:
            # Who reads it has enough; Python would complain once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    try:
        with os.fdopen(private.open_file(output, _NEW), "wb") as file:
            _export(user, database, password_file, file.write)
    except FileExistsError:
        raise StartError(f"{output} exists: it is not overwritten; move it away first") from None
    except OSError as error:
        raise StartError(f"{output}: cannot be written: {error.strerror}") from error


def _export(user: str, database: str, password_file: str, write: Write) -> None:
    if is_url(database):
        run_on_postgres(database, password_file, lambda connection: _copy(connection, user, write))
        return
    try:
        for line in personal_data(Path(database), user):
            write(line)
    except StoreUnusable as error:
        raise StartError(str(error)) from error


async def _copy(connection: Connection, user: str, write: Write) -> None:
    # What it needs need not be installed.
    from chat.storage.postgres.personal import personal_data as of_database

    async for line in of_database(connection, user):
        write(line)


def main() -> None:
    """The console script ``chat-export``."""
    run_command(command, "chat-export")


if __name__ == "__main__":
    run_command(command, "python -m chat.commands.export")
