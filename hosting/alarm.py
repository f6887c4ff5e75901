"""One timer for many times: it goes off at the earliest of them."""

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """A timer that may be set again while it runs, and then only to an earlier time.

    It keeps its time itself: in uvloop a timer that is due at once does not know it.

    Args:
        call: called when it goes off; from then on it is not set.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """Lets it go off at a time of the event loop's clock, unless it does so before."""
        if self._at <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._go_off)

    def close(self) -> None:
        """Keeps it from going off, for good."""
        if self._timer is not None:
            self._timer.cancel()
        self._at = -math.inf

    def _go_off(self) -> None:
        self._timer, self._at = None, math.inf
        self._call()
