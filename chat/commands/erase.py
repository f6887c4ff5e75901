"""The command ``python -m chat.commands.erase``, and ``python -m chat.erase``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from chat.commands.on_postgres import either_database, is_url, password_file, run_on_postgres
from chat.commands.remote import Server, erase_remotely
from chat.commands.users import UserId
from chat.storage.base import Store, StoreError, StoreUnusable
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from chat.storage.sqlite.offline import scrub_file
from hosting.addresses import split_address
from hosting.command import StartError, checking_options, ready, run_command
from hosting.options import TEXT, TextPath
from hosting.tls import Tls, TlsFiles, UnusableCertificate

if TYPE_CHECKING:
    from chat.storage.postgres.connections import Connection

# How many messages one step deletes: others wait that long.
_STEP: Final = 200
_QUEUE_BYTES: Final = 1024 * 1024
_BACKUPS: Final = "Backups have their own time: see docs/operations.md, Erasing a person."


@click.command(
    name="chat-erase",
    help="Erase all that is stored of USER: messages, reactions, read marks, mentions and profile."
    " Either in a SQLite file that no server has open, and then from the disk as well; in a"
    " PostgreSQL database, beside its servers; or by a running server (--server). If it is cut"
    " short, run it again: a server would go on with it, too. Without USER, --scrub alone removes"
    " from the disk what was deleted before.",
)
@click.argument("user", type=UserId(), required=False)
@either_database
@password_file
@click.option("--server", type=TEXT, metavar="HOST:PORT", help="The chat server that does it.")
@click.option(
    "--token-file",
    type=TextPath(dir_okay=False, path_type=Path),
    help="The file with the token of an admin, for --server.",
)
@click.option("--tls", is_flag=True, help="Speak TLS with the server.")
@click.option("--tls-ca", type=TEXT, default="", help="Its CA, in PEM, if not one of the system's.")
@click.option(
    "--scrub",
    is_flag=True,
    help="Write all tables in PostgreSQL anew, so that what was deleted is gone from them: the"
    " servers wait meanwhile. Of a SQLite file it is done in any case.",
)
def command(
    user: str | None,
    database: str,
    password_file: str,
    server: str | None,
    token_file: Path | None,
    *,
    tls: bool,
    tls_ca: str,
    scrub: bool,
) -> None:
    """Erases the user, and says what is left to be done."""
    if user is None and not scrub:
        raise click.UsageError("Give a USER, or --scrub.")
    if server is not None:
        if user is None or scrub:
            raise click.UsageError("--server takes a USER, and no --scrub: it scrubs by itself.")
        if token_file is None:
            raise click.UsageError("--server needs the --token-file of an admin.")
        with checking_options():
            host, port = split_address(server, "server")
        there = Server(host, port, token_file, _tls(tls_ca) if tls or tls_ca else None)
        _erased(user, erase_remotely(there, user, _say))
        click.echo(f"A SQLite file is scrubbed within --scrub-seconds. {_BACKUPS}", err=True)
    elif is_url(database):
        _on_postgres(user, database, password_file, scrub=scrub)
    else:
        _in_file(user, Path(database))


def _in_file(user: str | None, path: Path) -> None:
    if not path.is_file():
        raise StartError(f"cannot read {path}: there is no such file")
    try:
        if user is not None:
            _erased(user, asyncio.run(_erase_in_file(user, path)))
        scrub_file(path)
    except (StoreUnusable, StoreError) as error:
        raise StartError(f"{error} (--server lets a running server do it)") from error
    ready("scrubbed: nothing that was deleted is in the file")
    click.echo(_BACKUPS, err=True)


async def _erase_in_file(user: str, path: Path) -> int:
    return await _erase(await SqliteStore.open(str(path), Listener(), _QUEUE_BYTES), user)


def _on_postgres(user: str | None, url: str, password_file: str, *, scrub: bool) -> None:
    async def erase(connection: Connection) -> int:  # noqa: ARG001 - the database can be used
        # What it needs need not be installed.
        from chat.storage.postgres import PostgresStore

        store = await PostgresStore.open(url, Listener(), _QUEUE_BYTES, password_file=password_file)
        return await _erase(store, str(user))

    async def write_anew(connection: Connection) -> int:
        from chat.storage.postgres.scrub import scrub

        return await scrub(connection, lambda line: click.echo(line, err=True))

    if user is not None:
        try:
            _erased(user, run_on_postgres(url, password_file, erase))
        except StoreError as error:
            raise StartError(str(error)) from error
    if scrub:
        size = run_on_postgres(url, password_file, write_anew)
        ready(f"scrubbed: all tables were written anew, {size // 1024} KiB")
    else:
        click.echo("What was deleted is in the tables' files until --scrub.", err=True)
    click.echo(f"The write-ahead log and its archives keep it for a while. {_BACKUPS}", err=True)


async def _erase(store: Store, user: str) -> int:
    try:
        messages = 0
        while True:
            erased = await store.erase(user, _STEP)
            messages += erased.messages
            if erased.done:
                return messages
            _say(messages)
    finally:
        await store.close()


def _tls(authorities: str) -> Tls:
    try:
        return Tls.client(TlsFiles(authorities=authorities))
    except UnusableCertificate as error:
        raise StartError(str(error)) from error


def _say(messages: int) -> None:
    click.echo(f"{messages} messages erased", err=True)


def _erased(user: str, messages: int) -> None:
    ready(f"erased: {user}, {messages} messages")


def main() -> None:
    """The console script ``chat-erase``."""
    run_command(command, "chat-erase")


if __name__ == "__main__":
    run_command(command, "python -m chat.commands.erase")
