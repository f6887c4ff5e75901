"""The commands as processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from tests.kit import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]

Line = dict[str, Any]
# Size of the log's end that is shown with a failure.
_LAST_CHARACTERS: Final = 20_000

# Many run at the same time; metrics are enabled only where needed.
NO_METRICS: Final = {"CHAT_METRICS_PORT": "off", "PROXY_METRICS_PORT": "off"}


class Ended(NamedTuple):
    """Exit status and output of a process."""

    status: int
    output: str
    errors: str


async def start(
    module: str, *options: str, errors: int | IO[bytes] = PIPE, **environment: str
) -> Process:
    """Starts ``python -m module`` with settings from here alone.

    Args:
        module: the module.
        options: its command-line options.
        errors: target of standard error. An unread pipe holds 64 KiB.
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
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), (errors or b"").decode())


@asynccontextmanager
async def running(module: str, *options: str, **environment: str) -> AsyncIterator[Process]:
    """Runs a command, and kills it at the end if it still runs."""
    process = await start(module, *options, errors=PIPE, **environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready_line(process: Process) -> str:
    """Waits for the line that reports readiness."""
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
    """Waits until a process refuses connections: its stop has begun."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it came as the socket was closed
        writer.close()
        await asyncio.sleep(0.01)


class Daemon:
    """A command with a kept log that can be restarted with the same options.

    Args:
        log: file to append standard error to.
        module: module for ``python -m``.
        options: its options.
        environment: its settings.

    Attributes:
        starts: number of starts.
        address: the address in its last ready line.
    """

    def __init__(self, log: Path, module: str, *options: str, **environment: str) -> None:
        self.starts = 0
        self.address = ""
        self._log = log
        self._module = module
        self._options = options
        self._environment = environment
        self._process: Process | None = None

    @property
    def errors(self) -> str:
        """Its standard error, over all starts."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self.starts else ""

    @property
    def story(self) -> str:
        """The end of its output, for a failure message."""
        return f"{self._module}:\n{self.errors[-_LAST_CHARACTERS:]}"

    @property
    def process(self) -> Process:
        """The current process."""
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[Line]:
        """Its log lines, if logged as JSON."""
        # The last one may be on its way.
        whole = self.errors.rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    async def line(self, found: Callable[[Line], bool]) -> Line:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (lines := [line for line in self.lines() if found(line)]):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)
        return lines[0]

    async def event(self, name: str, **more: Any) -> Line:
        """Waits for a logged event."""
        return await self.line(lambda line: line.items() >= {"event": name, **more}.items())

    async def start(self) -> None:
        """Starts it, and waits until it is ready."""
        assert self._process is None
        with self._log.open("ab") as errors:
            self._process = await start(
                self._module, *self._options, errors=errors, **self._environment
            )
        self.starts += 1
        self.address = (await ready_line(self._process)).split()[-1]

    async def kill(self) -> None:
        """Kills it at once, like ``kill -9``."""
        assert await self._signal(signal.SIGKILL) == -signal.SIGKILL

    async def stop(self) -> None:
        """Sends SIGTERM, and waits for the end."""
        assert await self._signal(signal.SIGTERM) == 0, self.errors

    def send(self, number: signal.Signals) -> None:
        """Sends a signal without waiting."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Waits for the end; returns the status, negative for a signal."""
        return await self._signal(None)

    async def clean_up(self) -> None:
        """Kills it if it runs."""
        if self._process is not None:
            await self._signal(signal.SIGKILL)

    async def _signal(self, number: signal.Signals | None) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        try:
            if process.returncode is None and number is not None:
                process.send_signal(number)
            status, _, _ = await ended(process)
        finally:
            if process.returncode is None:
                process.kill()
        return status


@asynccontextmanager
async def logged(
    module: str, log: Path, *options: str, **environment: str
) -> AsyncIterator[Daemon]:
    """Runs a command on loopback; stops it in order."""
    daemon = Daemon(log, module, "--host", "127.0.0.1", *options, **environment)
    try:
        await daemon.start()
        yield daemon
        await daemon.stop()
    finally:
        await daemon.clean_up()


@asynccontextmanager
async def both_logged(
    folder: Path, *options: str, **environment: str
) -> AsyncIterator[tuple[Daemon, Daemon]]:
    """Runs a server and a proxy before it, each with a log in a folder; yields both.

    The database is in memory unless the environment names one.
    """
    options, settings = ("--port", "0", *options), {"CHAT_DATABASE": ":memory:", **environment}
    async with logged("chat", folder / "chat.log", *options, **settings) as server:
        settings = {"PROXY_UPSTREAM": server.address, **settings}
        async with logged("proxy", folder / "proxy.log", *options, **settings) as door:
            yield server, door


def run_program(text: str, *arguments: str, **environment: str) -> tuple[str, str]:
    """Runs a program, which must succeed; returns the output of both streams."""
    done = subprocess.run(  # noqa: S603 - a program of the tests
        [sys.executable, "-c", text, *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr
