"""The targets: the project and its peers, each as processes on loopback."""

import asyncio
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bench import safety
from bench.safety import Safety
from chat.config import UserRates
from hosting.settings import settings_of
from proxy.config import ClientRates

ROOT: Final = Path(__file__).parents[1]
HOST: Final = "127.0.0.1"
_NODE: Final = ROOT / "bench" / "peers" / "node"
_READY: Final = re.compile(rb":(\d+)/?\s*$")
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 15.0


class TargetError(Exception):
    """A target could not be started, or failed; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class Target:
    """An implementation of the contract.

    Attributes:
        name: its name on the command line and in the results.
        label: its name in the table.
        server: returns the command of its gRPC server, given its data folder; `None` if
            it has only a proxy.
        proxy: returns the command of its proxy, given the ``host:port`` of its server.
        safety: creates its keys and certificates in a folder.
    """

    name: str
    label: str
    server: Callable[[Path], list[str]] | None
    proxy: Callable[[str], list[str]]
    safety: Callable[[Path], Safety] = safety.none

    def missing(self) -> str | None:
        """The software that must be installed for it; `None` if nothing."""
        if self is NODE and shutil.which("node") is None:
            return "node"
        if self is NODE and not (_NODE / "node_modules").is_dir():
            return f"what `npm ci` installs in {_NODE.relative_to(ROOT)}"
        return None


@dataclass(frozen=True, slots=True)
class Running:
    """A target that is ready.

    Attributes:
        target: the target.
        port: its WebSocket port.
        pids: its processes.
        upstream: ``host:port`` of its gRPC server, empty if it has none.
        log: the file with the standard error of its processes.
        safety: the credentials of its clients.
    """

    target: Target
    port: int
    pids: tuple[int, ...]
    upstream: str
    log: Path
    safety: Safety


def data_folder() -> Path:
    """The folder of databases: on the disk of the project, never in memory."""
    folder = ROOT / "data"
    folder.mkdir(exist_ok=True)
    return folder


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


# All clients share one address, and one token if any, and send as fast as they get replies.
# Both processes still call the checks, as they do with limits.
_USERS: Final = tuple(f"--{each.name}=0" for each in settings_of(UserRates))
_CROWD: Final = (
    *(f"--{each.name}=0" for each in settings_of(ClientRates)),
    *("--handshakes-per-second=0", "--connections-per-address=0", "--clients-per-address=0"),
)


def project(
    name: str,
    label: str,
    server: Sequence[str],
    proxy: Sequence[str],
    safety: Callable[[Path], Safety] = safety.none,
) -> Target:
    """The project, with further options for its two processes."""
    return Target(
        name,
        label,
        lambda folder: _python(
            *("chat", "--host", HOST, "--port", "0", "--metrics-port", "0"),
            *("--database", str(folder / "chat.db"), *server),
        ),
        lambda upstream: _python(
            *("proxy", "--host", HOST, "--port", "0", "--metrics-port", "0"),
            *("--upstream", upstream, *proxy),
        ),
        safety,
    )


_OPTIONS: Final = ((*_USERS, "--calls-per-address=0"), _CROWD)

PROJECT: Final = project("project", "this project", *_OPTIONS)
NODE: Final = Target(
    "node",
    "Node",
    lambda _: ["node", str(_NODE / "server.js")],
    lambda upstream: ["node", str(_NODE / "proxy.js"), upstream],
)
GRPCIO: Final = Target(
    "grpcio",
    "grpcio + aiohttp",
    lambda _: _python("bench.peers.grpcio_aiohttp.server"),
    lambda upstream: _python("bench.peers.grpcio_aiohttp.proxy", upstream),
)
BROADCAST: Final = Target(
    "broadcast", "bare broadcast", None, lambda _: _python("bench.peers.broadcast")
)

TARGETS: Final = (PROJECT, NODE, GRPCIO, BROADCAST)

# The project with tokens and TLS, to measure their cost; only on request.
GUARDED: Final = (
    project("tokens", "with tokens", *_OPTIONS, safety.tokens),
    project("tls", "with tokens and TLS", *_OPTIONS, safety.tokens_and_tls),
)


@asynccontextmanager
async def running(target: Target, folder: Path) -> AsyncIterator[Running]:
    """Runs a target while the context is open.

    Args:
        target: the target.
        folder: the folder for its data and its log.

    Raises:
        TargetError: it did not start.
    """
    async with AsyncExitStack() as stack:
        log = stack.enter_context(_log(folder))
        pids = []
        upstream = ""
        asked = target.safety(folder)
        if target.server is not None:
            command = [*target.server(folder), *asked.server]
            server, port = await stack.enter_async_context(_process(command, log))
            pids.append(server.pid)
            upstream = f"{HOST}:{port}"
        command = [*target.proxy(upstream), *asked.proxy]
        proxy, port = await stack.enter_async_context(_process(command, log))
        pids.append(proxy.pid)
        yield Running(target, port, tuple(pids), upstream, Path(log.name), asked)


def _log(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "log").open("ab")


def _last_words(log: IO[bytes]) -> str:
    return Path(log.name).read_text(errors="replace").strip()[-2000:]


@asynccontextmanager
async def _process(command: list[str], log: IO[bytes]) -> AsyncIterator[tuple[Process, int]]:
    # A new session, so that it and its children can be terminated by its id.
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=PIPE, stderr=log, start_new_session=True
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
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
