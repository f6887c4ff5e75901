"""Costs as counts: the same on each machine, however busy."""

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

_ROUNDS = 5


class Cost(NamedTuple):
    """The cost of a call.

    Attributes:
        lines: number of Python lines run.
        peak_bytes: peak growth of memory, as from a copy of a large table.
    """

    lines: int
    peak_bytes: int


def cost(work: Callable[[], object]) -> Cost:
    """Calls a function a few times; returns the least cost, as a table may grow once."""
    rounds = [Cost(_lines(work), _peak_bytes(work)) for _ in range(_ROUNDS)]
    return Cost(min(each.lines for each in rounds), min(each.peak_bytes for each in rounds))


def _lines(work: Callable[[], object]) -> int:
    seen = 0

    def notice(_frame: object, event: str, _argument: object) -> Any:
        nonlocal seen
        seen += event == "line"
        return notice

    before = sys.gettrace()
    sys.settrace(notice)
    try:
        work()
    finally:
        sys.settrace(before)
    return seen


def _peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before
