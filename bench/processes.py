"""Runs targets: their engines, and the processes of their nodes, on loopback."""

import asyncio
import os
import re
import signal
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

from bench.engines import Engine
from bench.safety import Safety
from bench.targets import HOST, ROOT, Target

_READY: Final = re.compile(rb":(\d+)/?\s*$")
# Under valgrind, everything is slow.
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 60.0


class TargetError(Exception):
    """A target could not be started, or failed; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class Running:
    """A target that is ready.

    Attributes:
        target: the target.
        ports: its WebSocket ports, one for each node.
        pids: the processes of its nodes: of each its server, if it has one, and its proxy.
        engine: the processes of its engine.
        upstream: ``host:port`` of its first gRPC server, empty if it has none.
        log: the file with the standard error of its processes.
        safety: the credentials of its clients.
    """

    target: Target
    ports: tuple[int, ...]
    pids: tuple[int, ...]
    engine: tuple[int, ...]
    upstream: str
    log: Path
    safety: Safety

    @property
    def port(self) -> int:
        """The WebSocket port of the first node."""
        return self.ports[0]


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for databases, while the context is open: on the project's disk, not in memory."""
    folder = ROOT / "data"
    folder.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=folder)


@asynccontextmanager
async def running(
    target: Target, root: Path = ROOT, folder: Path | None = None
) -> AsyncIterator[Running]:
    """Runs a target while the context is open.

    Args:
        target: the target.
        root: the checkout whose programs are run.
        folder: for its data and its log; by default, one that is removed at its end.

    Raises:
        TargetError: it did not start.
    """
    async with AsyncExitStack() as stack:
        folder = folder or Path(stack.enter_context(temporary_folder()))
        log = stack.enter_context(_log(folder))
        asked = target.safety(folder)
        engine = await stack.enter_async_context(target.engine(folder))
        nodes = [await _node(target, engine, asked, root, log, stack) for _ in range(target.nodes)]
        yield Running(
            target,
            tuple(node.port for node in nodes),
            tuple(pid for node in nodes for pid in node.pids),
            engine.pids,
            nodes[0].upstream,
            Path(log.name),
            asked,
        )


class _Node(NamedTuple):
    port: int
    pids: list[int]
    upstream: str


async def _node(
    target: Target,
    engine: Engine,
    asked: Safety,
    root: Path,
    log: IO[bytes],
    stack: AsyncExitStack,
) -> _Node:
    """Starts a server, if the target has one, and its proxy."""
    pids: list[int] = []
    upstream = ""
    if target.server is not None:
        command = [*target.server(engine), *asked.server]
        server, port = await stack.enter_async_context(_process(command, root, log))
        pids.append(server.pid)
        upstream = f"{HOST}:{port}"
    command = [*target.proxy(upstream or engine.url), *asked.proxy]
    proxy, port = await stack.enter_async_context(_process(command, root, log))
    return _Node(port, [*pids, proxy.pid], upstream)


def _log(folder: Path) -> IO[bytes]:
    return (folder / "log").open("ab")


def _last_words(log: IO[bytes]) -> str:
    return Path(log.name).read_text(errors="replace").strip()[-2000:]


@asynccontextmanager
async def _process(
    command: list[str], root: Path, log: IO[bytes]
) -> AsyncIterator[tuple[Process, int]]:
    # A new session, so that it and its children can be terminated by its id.
    process = await asyncio.create_subprocess_exec(
        *command, cwd=root, stdout=PIPE, stderr=log, start_new_session=True
    )
    try:
        yield process, await _port(process, command, log)
    finally:
        await _stop(process)


async def _port(process: Process, command: list[str], log: IO[bytes]) -> int:
    """Reads the port from the ready line of a process."""
    if process.stdout is None:
        raise AssertionError("started without a pipe")
    line = b""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while line := await process.stdout.readline():
                if found := _READY.search(line):
                    return int(found[1])
    except TimeoutError:
        pass
    raise TargetError(f"{' '.join(command[:3])} … did not start:\n{_last_words(log)}")


async def _stop(process: Process) -> None:
    # It may have ended just now.
    with suppress(ProcessLookupError):
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
