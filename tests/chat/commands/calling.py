"""Commands run in this process, which is cheaper than one of their own."""

import asyncio

import click
from click.testing import CliRunner

from hosting.command import StartError
from tests.kit.processes import Ended


async def call(command: click.Command, *options: str, **environment: str) -> Ended:
    """Runs a command; its errors come with its usage, which a process does not print."""
    runner = CliRunner(env={"CHAT_DATABASE": None, **environment})
    result = await asyncio.to_thread(runner.invoke, command, options)
    errors = result.stderr
    if isinstance(result.exception, StartError):
        errors += f"{result.exception}\n"
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, errors)
