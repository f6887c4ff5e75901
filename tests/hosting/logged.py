"""A server that asks for tokens and a proxy before it, as processes whose logs are kept."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.hosting.processes import ended, ready_line, start
from tests.support import PATIENCE_SECONDS

Line = dict[str, Any]


class Logged:
    """A process, and what it logs.

    Args:
        process: the process.
        path: the file with its standard error.
        address: what its ready line says.
    """

    def __init__(self, process: Process, path: Path, address: str) -> None:
        self.process = process
        self.path = path
        self.address = address

    def lines(self) -> list[Line]:
        """What it has logged, if it does so as JSON."""
        # The last one may be on its way.
        whole = self.path.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    async def line(self, found: Callable[[Line], bool]) -> Line:
        """Waits for a line."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (lines := [line for line in self.lines() if found(line)]):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)
        return lines[0]

    async def event(self, name: str, **more: Any) -> Line:
        """Waits for an event."""
        return await self.line(lambda line: line.items() >= {"event": name, **more}.items())


@asynccontextmanager
async def logged(
    module: str, log: Path, *options: str, **environment: str
) -> AsyncIterator[Logged]:
    """Runs a command that appends its log to a file; stops it in order."""
    options = ("--host", "127.0.0.1", *options)
    with log.open("ab") as file:
        process = await start(module, *options, errors=file, **environment)
    try:
        yield Logged(process, log, (await ready_line(process)).split()[-1])
        if process.returncode is None:
            process.terminate()
        assert (await ended(process)).status == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def both_logged(
    folder: Path, *options: str, **environment: str
) -> AsyncIterator[tuple[Logged, Logged]]:
    """Runs a server and a proxy before it, each with a log in a folder; yields both.

    The database is in memory if the environment names none.
    """
    options, settings = ("--port", "0", *options), {"CHAT_DATABASE": ":memory:", **environment}
    async with logged("chat", folder / "chat.log", *options, **settings) as server:
        settings = {"PROXY_UPSTREAM": server.address, **settings}
        async with logged("proxy", folder / "proxy.log", *options, **settings) as door:
            yield server, door
