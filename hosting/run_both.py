"""Runs the chat server and the proxy side by side: ``python -m hosting.run_both``.

Both print their ready lines here. The first SIGINT or SIGTERM stops both; if one
ends by itself, the other is stopped and this process fails. What it is told for one of
them reaches that one: ``--chat-port 50052`` as ``--port 50052`` of ``python -m chat``.
Environment variables reach both, and so does ``--config FILE``. Unless one of these says
otherwise, the chat server listens on loopback, since the proxy is all that needs it, and is
where the proxy is pointed.
"""

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import click

from hosting.command import checking_options, run_command
from hosting.settings import variable_of
from hosting.settings_file import TABLES, read_tables
from hosting.signals import handling, named_signals, stop_event

CHILDREN: Final = TABLES

METRICS_PORTS: Final = {"chat": 9464, "proxy": 9465}
"""The default ports of metrics, used if they are free."""

_READY = re.compile(r"gRPC on (\S+):(\d+)\s*$")
# Wildcard addresses: nothing can connect to them.
_ANY = {"0.0.0.0", "[::]"}  # noqa: S104 - compared with, not listened on

Arguments = Mapping[str, Sequence[str]]


def split_arguments(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Sorts arguments by the process that each is for, and takes the prefixes away.

    Args:
        arguments: such as ``--proxy-port 8081``, or ``--proxy-port=8081``.

    Returns:
        The arguments of each of `CHILDREN`.

    Raises:
        click.UsageError: one of them is for neither.
    """
    split: dict[str, list[str]] = {name: [] for name in CHILDREN}
    of: Sequence[str] = ()  # whose option has just been read, and may have a value
    for argument in arguments:
        if argument.startswith("-") and not _is_number(argument):
            of = _whose(argument)
            for name in of:
                split[name].append(re.sub(f"^--{name}-", "--", argument))
        elif of:
            for name in of:
                split[name].append(argument)
            of = ()
        else:
            raise click.UsageError(f"Got unexpected extra argument ({argument})")
    return split


def _whose(argument: str) -> Sequence[str]:
    for name in CHILDREN:
        if argument.startswith(f"--{name}-"):
            return (name,)
    option = argument.partition("=")[0].lstrip("-")
    if option == "config":
        return CHILDREN
    chat, proxy = (variable_of(name, option) for name in CHILDREN)
    raise click.UsageError(
        f"No such option: {argument.partition('=')[0]}. For python -m chat it is --chat-{option}, "
        f"or the environment variable {chat}; for python -m proxy --proxy-{option}, "
        f"or {proxy}"
    )


def _is_number(argument: str) -> bool:
    return argument[1:2].isdigit()


async def run_pair(arguments: Arguments) -> int:
    """Runs both until a signal or until one of them ends.

    Args:
        arguments: those of each of `CHILDREN`.

    Returns:
        The exit status: 0 after a signal, else 1.
    """
    children: dict[str, Process] = {}

    def kill() -> None:
        for child in children.values():
            if child.returncode is None:
                child.kill()

    def pass_on(number: int) -> None:
        for child in children.values():
            if child.returncode is None:
                child.send_signal(number)

    # These two change what is logged.
    logged = named_signals("SIGUSR1", "SIGUSR2")
    with handling(logged, pass_on), stop_event(at_once=kill) as stop:
        stopping = asyncio.create_task(stop.wait())
        try:
            return await _run(arguments, children, stopping)
        finally:
            stopping.cancel()
            await _stop(children)


async def _run(
    arguments: Arguments, children: dict[str, Process], stopping: asyncio.Task[bool]
) -> int:
    environment = dict(os.environ)
    files = {name: _table(name, arguments[name]) for name in CHILDREN}
    if "host" not in files["chat"]:
        environment.setdefault("CHAT_HOST", "127.0.0.1")
    for name in CHILDREN:
        is_set = "metrics-port" in files[name] or _is_set(name, "metrics-port", arguments)
        if not is_set and _is_taken(METRICS_PORTS[name]):
            environment[variable_of(name, "metrics-port")] = "0"
        child = children[name] = await _start(name, arguments[name], environment)
        ready = asyncio.create_task(_pass_ready_line_on(child))
        await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            ready.cancel()
            return 0
        line = ready.result()
        if not line:
            return await _not_started(name, child)
        if name == "chat" and "upstream" not in files["proxy"]:
            environment.setdefault("PROXY_UPSTREAM", _address(line))
    return await _watch(children, stopping)


async def _watch(children: dict[str, Process], stopping: asyncio.Task[bool]) -> int:
    ended = {asyncio.create_task(child.wait(), name=name): name for name, child in children.items()}
    await asyncio.wait({*ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task, name in ended.items():
        if task.done() and not stopping.done():
            status = task.result()
            click.echo(
                f"the {name} process ended with status {status}: stopping the other", err=True
            )
            return 1
        task.cancel()
    return 0


async def _not_started(name: str, child: Process) -> int:
    status = await child.wait()
    if status < 0:
        # Else it has said why itself, in one line.
        click.echo(f"the {name} process was ended at its start by signal {-status}", err=True)
    return 1


def _table(name: str, arguments: Sequence[str]) -> Mapping[str, object]:
    """The table of a process in its settings file, if it has one.

    Raises:
        click.UsageError: the file cannot be used.
    """
    path = os.environ.get(variable_of(name, "config"))
    for number, each in enumerate(arguments):
        option, _, value = each.partition("=")
        if option == "--config":
            path = value or (arguments[number + 1] if len(arguments) > number + 1 else None)
    if not path:
        return {}
    with checking_options():
        return read_tables(Path(path))[name]


def _is_set(name: str, option: str, arguments: Arguments) -> bool:
    """Returns True if an option is given on the command line or in the environment."""
    given = any(each.partition("=")[0] == f"--{option}" for each in arguments[name])
    return given or variable_of(name, option) in os.environ


def _is_taken(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


async def _start(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Process:
    # A session of its own, so that Ctrl-C reaches a child once, from here.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env=environment,
        stdout=PIPE,
        start_new_session=True,
    )


async def _pass_ready_line_on(child: Process) -> str:
    """Prints the line that says that a child is ready; empty if it ended before that."""
    if child.stdout is None:
        return ""
    line = await child.stdout.readline()
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
    return line.decode()


def _address(ready_line: str) -> str:
    """The address of the chat server, for the proxy.

    Raises:
        ValueError: it printed something else.
    """
    found = _READY.search(ready_line)
    if found is None:
        raise ValueError(f"the chat process did not say where it listens: {ready_line}")
    host, port = found.groups()
    return f"{'127.0.0.1' if host in _ANY else host}:{port}"


async def _stop(children: Mapping[str, Process]) -> None:
    """Stops the proxy, then the server, so that what clients sent is still confirmed."""
    for child in reversed(tuple(children.values())):
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        await child.wait()


@click.command(
    help="Run the chat server and the proxy, until Ctrl-C. Each option of either can be given "
    "with its name in front, as --proxy-port or --chat-database, and --config for both; "
    "python -m chat --help and python -m proxy --help have them all, with their variables.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[--chat-OPTION VALUE | --proxy-OPTION VALUE]...",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="")
def command(arguments: tuple[str, ...]) -> int:
    """Runs both, and returns the exit status."""
    return asyncio.run(run_pair(split_arguments(arguments)))


def main() -> NoReturn:
    """The console script ``chat-serve``."""
    run_command(command, "chat-serve")


if __name__ == "__main__":
    run_command(command, "python -m hosting.run_both")
