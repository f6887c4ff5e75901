"""The commands as processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

from tests.support import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]

# Many run at the same time; those whose metrics are wanted say so.
NO_METRICS: Final = {"CHAT_METRICS_PORT": "off", "PROXY_METRICS_PORT": "off"}


class Ended(NamedTuple):
    """How a process ended, and what it printed."""

    status: int
    output: str
    errors: str


async def start(
    module: str, *options: str, errors: int | IO[bytes] = PIPE, **environment: str
) -> Process:
    """Starts ``python -m module``; its settings come from here alone.

    Args:
        module: what to start.
        options: its options.
        errors: where standard error goes. A pipe that nobody reads holds 64 KiB.
        environment: its settings.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CHAT_", "PROXY_"))
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *options, cwd=ROOT, stdout=PIPE, stderr=errors,
        env={**inherited, **NO_METRICS, **environment},
    )  # fmt: skip


async def ended(process: Process) -> Ended:
    """Waits for the end of a process."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), (errors or b"").decode())


@asynccontextmanager
async def running(module: str, *options: str, **environment: str) -> AsyncIterator[Process]:
    """Runs a command, and kills it if it is still there."""
    process = await start(module, *options, errors=PIPE, **environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready_line(process: Process) -> str:
    """Waits for the line that says that a process is ready."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        line = (await process.stdout.readline()).decode()
    if not line:
        raise AssertionError((await ended(process)).errors)
    return line


async def run(module: str, *options: str, **environment: str) -> Ended:
    """Runs a command that ends by itself."""
    async with running(module, *options, **environment) as process:
        return await ended(process)


async def not_listening(port: int) -> None:
    """Waits until a process accepts no more connections: its stop has begun."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it came as the socket was closed
        writer.close()
        await asyncio.sleep(0.01)
