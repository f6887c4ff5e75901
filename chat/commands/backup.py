"""The command ``python -m chat.commands.backup``."""

from pathlib import Path

import click

from chat.commands.on_postgres import refuse_url
from chat.storage.base import StoreUnusable
from chat.storage.sqlite.backup import back_up
from hosting.command import StartError, ready, run_command
from hosting.options import TextPath


@click.command(help="Copy the file DATABASE to TARGET, while a chat server has it open or not.")
@click.argument("database", type=TextPath(path_type=Path))
@click.argument("target", type=TextPath(path_type=Path))
def command(database: Path, target: Path) -> None:
    """Makes the copy, and says so."""
    refuse_url(database)
    try:
        back_up(database, target)
    except StoreUnusable as error:
        raise StartError(str(error)) from error
    ready(f"backup written: {target}")


def main() -> None:
    """The console script ``chat-backup``."""
    run_command(command, "chat-backup")


if __name__ == "__main__":
    run_command(command, "python -m chat.commands.backup")
