"""Windows as far as it can be simulated: no uvloop, no POSIX modules, no signal handlers."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from hosting.signals import handling, stop_event
from tests.hosting.test_run_both import pair, ready_lines
from tests.kit.processes import both_logged, run
from tests.proxy.web_client import contents, message, seqs, visitor


def without(folder: Path, *modules: str) -> dict[str, str]:
    """The environment of a process that lacks some modules."""
    folder.mkdir()
    # No files in their place: those that are built into the interpreter are not looked for.
    text = f"import sys\nsys.modules.update(dict.fromkeys({modules}))\n"
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def without_uvloop(tmp_path: Path) -> dict[str, str]:
    """The environment of a process without uvloop."""
    return without(tmp_path / "without", "uvloop")


async def test_commands_serve_without_uvloop(
    tmp_path: Path, without_uvloop: dict[str, str]
) -> None:
    settings = {"CHAT_DATABASE": str(tmp_path / "chat.db"), **without_uvloop}
    async with (
        both_logged(tmp_path, "--log-format", "json", **settings) as (_, door),
        visitor(door.address) as client,
    ):
        texts = [f"{number}" * 1000 for number in range(200)]
        for content in texts:
            await client.say("lobby", content)
        heard = await client.take(len(texts))
        assert list(zip(seqs(heard), contents(heard), strict=True)) == list(enumerate(texts, 1))
        door.process.send_signal(signal.SIGUSR1)
        assert (await door.event("log level changed"))["to"] == "debug"
        door.process.send_signal(signal.SIGTERM)
        assert await client.closed() == 1001
        assert await door.process.wait() == 0


async def test_pair_serves_without_uvloop(tmp_path: Path, without_uvloop: dict[str, str]) -> None:
    path = f"{without_uvloop['PYTHONPATH']}:{Path(__file__).parents[2]}"
    async with pair(tmp_path, PYTHONPATH=path) as process:
        url = (await ready_lines(process))[1].split()[-1]
        async with aiohttp.ClientSession() as session, session.get(url) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_database_file_needs_posix_locks(tmp_path: Path) -> None:
    environment = without(tmp_path / "without", "uvloop", "fcntl", "resource")
    async with both_logged(tmp_path, **environment) as (_, door), visitor(door.address) as client:
        assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
    refused = await run("chat", "--port", "0", "--database", str(tmp_path / "x.db"), **environment)
    assert (refused.status, refused.output) == (1, "")
    [line] = refused.errors.splitlines()
    assert "this system lacks the locks that keep others out of it" in line
    assert not (tmp_path / "x.db").exists()


class WindowsLoop(asyncio.SelectorEventLoop):
    """A loop without signal handlers, as on Windows."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Refuses (asyncio.AbstractEventLoop)."""
        raise NotImplementedError


def test_signals_reach_a_windows_loop() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def main() -> list[int]:
        seen: list[int] = []
        came = asyncio.Event()

        def note(number: int) -> None:
            seen.append(number)
            came.set()

        with stop_event() as stop, handling([signal.SIGUSR2], note):
            signal.raise_signal(signal.SIGUSR2)
            await came.wait()
            signal.raise_signal(signal.SIGTERM)
            await stop.wait()
        return seen

    with asyncio.Runner(loop_factory=WindowsLoop) as runner:
        assert runner.run(main()) == [signal.SIGUSR2]
    assert signal.getsignal(signal.SIGTERM) == before
