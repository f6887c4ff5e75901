"""Runs the chat server and the proxy side by side: ``python -m daemon.pair``.

Both print their ready lines here. The first SIGINT or SIGTERM stops both; if one
ends by itself, the other is stopped and this process fails. The settings of both
come from their environment variables; the proxy is pointed at the chat server.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping

import click

from daemon.lifecycle import stop_event

_READY = re.compile(r"gRPC on (\S+):(\d+)\s*$")
# Addresses that mean "every one of this machine": none to connect to.
_ANY = {"0.0.0.0", "[::]"}  # noqa: S104 - compared with, not listened on


async def run_pair() -> int:
    """Runs both until a signal or until one of them ends.

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
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        asyncio.get_running_loop().add_signal_handler(number, pass_on, number)
    with stop_event(at_once=kill) as stop:
        stopping = asyncio.create_task(stop.wait())
        try:
            return await _run(children, stopping)
        finally:
            stopping.cancel()
            await _stop(children)


async def _run(children: dict[str, Process], stopping: asyncio.Task[bool]) -> int:
    chat = children["chat"] = await _start("chat", {}, capture=True)
    ready = asyncio.create_task(_read_address(chat))
    await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        ready.cancel()
        return 0
    address = ready.result()
    if address is None:
        return await _failed("chat", chat)
    upstream = os.environ.get("PROXY_UPSTREAM", address)
    children["proxy"] = await _start("proxy", {"PROXY_UPSTREAM": upstream}, capture=False)
    return await _watch(children, stopping)


async def _watch(children: dict[str, Process], stopping: asyncio.Task[bool]) -> int:
    ended = {asyncio.create_task(child.wait(), name=name): name for name, child in children.items()}
    await asyncio.wait({*ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task, name in ended.items():
        if task.done() and not stopping.done():
            return await _failed(name, children[name])
        task.cancel()
    return 0


async def _start(module: str, extra: Mapping[str, str], *, capture: bool) -> Process:
    # A session of its own, so that Ctrl-C reaches a child once, from here.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={**os.environ, **extra},
        stdout=PIPE if capture else None,
        start_new_session=True,
    )


async def _read_address(chat: Process) -> str | None:
    """Passes the ready line on, and returns where to connect to; `None` if none came."""
    if chat.stdout is None:
        return None
    line = await chat.stdout.readline()
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
    found = _READY.search(line.decode())
    if found is None:
        return None
    host, port = found.groups()
    return f"{'127.0.0.1' if host in _ANY else host}:{port}"


async def _failed(name: str, child: Process) -> int:
    status = await child.wait()
    click.echo(f"the {name} process ended with status {status}: stopping the other", err=True)
    return 1


async def _stop(children: Mapping[str, Process]) -> None:
    """Stops the proxy, then the server, so that what clients sent is still confirmed."""
    for child in reversed(tuple(children.values())):
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        await child.wait()


def main() -> None:
    """The console script ``chat-serve``."""
    sys.exit(asyncio.run(run_pair()))


if __name__ == "__main__":
    main()
