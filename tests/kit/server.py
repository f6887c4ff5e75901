"""What servers of other projects have in common: a process in a folder of its own, and its log."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from tests.kit import PATIENCE_SECONDS
from tests.kit.homes import kill

HOST: Final = "127.0.0.1"
POLL_SECONDS: Final = 0.01


class Server(ABC):
    """One server on loopback. Its methods belong to no event loop.

    Args:
        folder: in which all its processes run.
        port: its port, which stays the same.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its ``host:port``."""
        return f"{HOST}:{self.port}"

    @property
    def runs(self) -> bool:
        """Whether it was started, and not ended."""
        return self._process is not None

    @property
    def log(self) -> str:
        """What it logged, over all starts."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """The process that started all its others."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Starts it, and waits until it answers."""
        assert self._process is None
        self._process = self._spawn()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._answers():
                assert self._process.poll() is None, self.log
                await asyncio.sleep(POLL_SECONDS)

    @abstractmethod
    async def stop(self) -> None:
        """Stops it in order."""

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """Kills all its processes at once, as if the machine died."""
        await asyncio.to_thread(kill, self._folder)
        await self._end(signal.SIGKILL)

    async def pause(self) -> None:
        """Stops all its processes where they are (SIGSTOP)."""
        await asyncio.to_thread(kill, self._folder, signal.SIGSTOP)

    async def resume(self) -> None:
        """Ends a pause."""
        await asyncio.to_thread(kill, self._folder, signal.SIGCONT)

    @abstractmethod
    def _spawn(self) -> subprocess.Popen[bytes]:
        """Starts its process, which appends to the log."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Whether it is ready."""

    async def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        await asyncio.to_thread(process.wait, PATIENCE_SECONDS)
