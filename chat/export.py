"""The command ``python -m chat.export``, a short name of `chat.commands.export`."""

from chat.commands.export import command
from hosting.command import run_command

if __name__ == "__main__":
    run_command(command, "python -m chat.export")
