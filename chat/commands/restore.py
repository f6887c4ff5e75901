"""The command ``python -m chat.commands.restore``."""

from pathlib import Path

import click

from chat.commands.on_postgres import refuse_url
from chat.storage.base import StoreUnusable
from chat.storage.sqlite.backup import restore
from hosting.command import StartError, ready, run_command
from hosting.options import TextPath


@click.command(
    help="Make the file DATABASE out of BACKUP, for a chat server that is not running yet. Clients"
    " are told that it is another history, for they may have seen more of the old one."
)
@click.argument("backup", type=TextPath(path_type=Path))
@click.argument("database", type=TextPath(path_type=Path))
def command(backup: Path, database: Path) -> None:
    """Makes the database, and says so."""
    refuse_url(database)
    try:
        restore(backup, database)
    except StoreUnusable as error:
        raise StartError(str(error)) from error
    ready(f"database restored: {database}")


def main() -> None:
    """The console script ``chat-restore``."""
    run_command(command, "chat-restore")


if __name__ == "__main__":
    run_command(command, "python -m chat.commands.restore")
