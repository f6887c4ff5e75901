"""The command ``python -m chat.erase``, a short name of `chat.commands.erase`."""

from chat.commands.erase import command
from hosting.command import run_command

if __name__ == "__main__":
    run_command(command, "python -m chat.erase")
