"""Measures processor time and memory of processes."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_LOOK_SECONDS = 0.1
_QUIET_SHARE = 0.1
_QUIET_LOOKS = 3


def cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process, in user and kernel mode."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def tree_cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process and of all that it started, also if they ended."""
    process = psutil.Process(pid)
    used = 0.0
    for each in (process, *process.children(recursive=True)):
        # It may end meanwhile; then its time is that of its parent's children.
        with suppress(psutil.NoSuchProcess):
            used += sum(each.cpu_times()[:4])
    return used


def used(pids: Iterable[int], engine: Iterable[int]) -> tuple[float, float]:
    """Returns the processor time of processes, and of an engine with all that it started."""
    return sum(map(cpu_seconds, pids)), sum(map(tree_cpu_seconds, engine))


def precise_cpu_seconds(pid: int) -> float:
    """Returns the processor time of a process, on Linux to the nanosecond; not of ended threads."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        used = [int((each / "schedstat").read_text().split()[0]) for each in tasks.iterdir()]
    except FileNotFoundError:
        return cpu_seconds(pid)
    return sum(used) / 1e9


def memory_bytes(pid: int) -> int:
    """Returns the memory of a process.

    On Linux the proportional set size, which divides shared pages among processes;
    elsewhere the resident set size.
    """
    memory = psutil.Process(pid).memory_full_info()
    return int(getattr(memory, "pss", memory.rss))


async def quiet(pids: Iterable[int], timeout: float = 10.0) -> None:
    """Waits until processes are idle, with their clean-up done.

    Args:
        pids: their ids.
        timeout: the longest wait, in seconds.
    """
    pids = tuple(pids)
    deadline = time.monotonic() + timeout
    looks = 0
    used = sum(map(cpu_seconds, pids))
    while looks < _QUIET_LOOKS and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
        before, used = used, sum(map(cpu_seconds, pids))
        looks = looks + 1 if used - before <= _QUIET_SHARE * _LOOK_SECONDS else 0
