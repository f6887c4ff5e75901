"""What something costs, as counts: no clock tells it."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True, slots=True)
class Work:
    """What a call did.

    Attributes:
        calls: how many functions it called, those of C included.
        bytes: how much memory it took at a time.
    """

    calls: int
    bytes: int


def work_of(call: Callable[[], object]) -> Work:
    """Calls a function, and counts."""
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
