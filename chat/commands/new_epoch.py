"""The command ``python -m chat.commands.new_epoch``."""

from typing import TYPE_CHECKING

import click

from chat.commands.on_postgres import is_url, password_file, run_on_postgres
from hosting.command import StartError, ready, run_command
from hosting.options import TEXT

if TYPE_CHECKING:
    from chat.storage.postgres.connections import Connection


@click.command(
    name="chat-epoch",
    help="Begin a new epoch of the history in the PostgreSQL database DATABASE (a URL): servers"
    " tell all clients that it may have lost messages. Do so after the database was put back to"
    " an earlier state, if the servers could not notice it.",
)
@click.argument("database", type=TEXT, envvar="CHAT_DATABASE")
@password_file
def command(database: str, password_file: str) -> None:
    """Begins it, and says so."""
    if not is_url(database):
        raise StartError(
            "this command is for PostgreSQL: postgresql://user@host:port/name; a SQLite file gets"
            " a new epoch by chat-restore"
        )
    old, new = run_on_postgres(database, password_file, _rotate)
    ready(f"epoch changed from {old} to {new}")


async def _rotate(connection: "Connection") -> tuple[str, str]:
    from chat.storage.postgres.epoch import rotate
    from chat.storage.postgres.schema import refuse_unfinished

    await refuse_unfinished(connection)
    return await rotate(connection)


def main() -> None:
    """The console script ``chat-epoch``."""
    run_command(command, "chat-epoch")


if __name__ == "__main__":
    run_command(command, "python -m chat.commands.new_epoch")
