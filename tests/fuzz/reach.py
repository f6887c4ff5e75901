"""Finds the code that an input reaches, to choose which inputs to keep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

# A step from one line to another, in one function of a file.
Step = tuple[str, int, int]


class _Tracer:
    """Records the steps taken in the code under test.

    Args:
        packages: the names of the packages under test.
    """

    def __init__(self, packages: Iterable[str]) -> None:
        self.steps: set[Step] = set()
        self._folders = tuple(f"/{name}/" for name in packages)

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:  # noqa: ARG002 - see sys.settrace
        name = frame.f_code.co_filename
        if not any(folder in name for folder in self._folders) or "/site-packages/" in name:
            return None
        last = 0

        def on_line(frame: FrameType, event: str, arg: object) -> Any:  # noqa: ARG001 - as above
            nonlocal last
            if event == "line":
                self.steps.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return on_line

        return on_line


def reached(run: Callable[[bytes], None], data: bytes, packages: Iterable[str]) -> set[Step]:
    """Returns the steps that a target takes for an input."""
    tracer = _Tracer(packages)
    sys.settrace(tracer)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return tracer.steps


def worth_keeping(
    run: Callable[[bytes], None], inputs: Iterable[bytes], packages: Iterable[str]
) -> list[bytes]:
    """Chooses inputs that together reach the same code as all of them, smallest first."""
    seen: set[Step] = set()
    kept = []
    for data in sorted(inputs, key=lambda each: (len(each), each)):
        steps = reached(run, data, packages)
        if not steps <= seen:
            seen |= steps
            kept.append(data)
    return kept
