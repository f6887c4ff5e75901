"""What commands for a database in PostgreSQL share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

from chat.storage.base import StoreUnusable
from hosting.command import StartError
from hosting.options import TEXT

if TYPE_CHECKING:
    from chat.storage.postgres.connections import Connection

T = TypeVar("T")

# As the name of a file it has one slash less.
_URL: Final = re.compile(r"postgres(ql)?:/", re.IGNORECASE)

either_database = click.option(
    "--database",
    type=TEXT,
    default="data/chat.db",
    envvar="CHAT_DATABASE",
    show_default=True,
    show_envvar=True,
    help="The SQLite file, or the URL of a PostgreSQL database.",
)
password_file = click.option(
    "--database-password-file",
    "password_file",
    type=TEXT,
    default="",
    envvar="CHAT_DATABASE_PASSWORD_FILE",
    show_envvar=True,
    help="The file with the password of the user, if it is in one.",
)


def is_url(database: object) -> bool:
    """Whether it is the URL of a database in PostgreSQL, and not the name of a file."""
    return _URL.match(str(database)) is not None


def refuse_url(database: object) -> None:
    """Refuses what a command for files cannot do.

    Raises:
        StartError: it is the URL of a database in PostgreSQL.
    """
    if is_url(database):
        raise StartError(
            "this command is for SQLite files; use pg_dump and pg_restore, or pg_basebackup, for"
            " PostgreSQL"
        )


def run_on_postgres(url: str, password_file: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Runs something on a database.

    Args:
        url: the database.
        password_file: the file with the password; empty if it is elsewhere.
        work: is called with a connection.

    Raises:
        StartError: it failed; the text says why, in one line.
    """
    if not is_url(url):
        raise StartError("the database must have the form postgresql://user@host:port/name")
    try:
        from chat.storage.postgres.maintenance import open_database
    except ModuleNotFoundError as error:
        raise StartError(
            f"this command needs the extra of this package that brings {error.name}: "
            'pip install "asyncio-grpc-chat[postgresql]"'
        ) from error

    async def run() -> T:
        async with open_database(url, password_file) as connection:
            return await work(connection)

    try:
        return asyncio.run(run())
    except StoreUnusable as error:
        raise StartError(str(error)) from error
