"""A chat server whose clock is an hour fast: ``python -m tests.faults.fast_clock``.

It takes the options of ``python -m chat``.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

AHEAD_SECONDS: Final = 3600
_Time = TypeVar("_Time", int, float)


def _ahead(clock: Callable[[], _Time], units: _Time) -> Callable[[], _Time]:
    return lambda: clock() + units


if __name__ == "__main__":
    time.time = _ahead(time.time, float(AHEAD_SECONDS))
    time.time_ns = _ahead(time.time_ns, AHEAD_SECONDS * 10**9)
    # It must find the clock changed.
    from chat.__main__ import main

    main()
