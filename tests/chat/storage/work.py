"""Work as counts of calls and bytes, independent of time."""

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a call.

    Attributes:
        calls: number of called functions, those of C included.
        bytes: peak memory.
    """

    calls: int
    bytes: int


def work_of(call: Callable[[], object]) -> Work:
    """Calls a function; returns its work."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    profile = sys.getprofile()
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(profile)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return Work(calls, peak - before)
