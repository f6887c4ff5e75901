"""A bound on how often the log says the same: nobody can fill it, whatever they do.

Of each event, by its logger and level, so many lines may come at once and then some in a
minute. The next line that comes through says how many like it were left out before. What
is logged at "debug" is not meant: who asks for that wants all of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from hosting.rate_limits import Bucket, BucketTable

AT_ONCE: Final = 100
"""So many lines of an event may come at once."""

PER_SECOND: Final = 1.0
"""And then so many in a second."""


class Damper(logging.Filter):
    """Lets lines through, but for those that say the same too often.

    Args:
        clock: tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._events: BucketTable[tuple[str, int, str], _Event] = BucketTable(_Event, clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        if record.levelno < logging.INFO:
            return True
        # structlog hands its events over as they are.
        fields = record.msg if isinstance(record.msg, dict) else None
        name = str(record.msg if fields is None else fields.get("event"))
        event = self._events.of((record.name, record.levelno, name))
        if event.take(self._clock()):
            event.left_out += 1
            return False
        if event.left_out and fields is not None:
            fields["left_out"] = event.left_out
        elif event.left_out:
            record.msg = f"{name} (left out: {event.left_out})"
        event.left_out = 0
        return True


class _Event(Bucket):
    """How often an event may be logged, and how often it was not since it was last."""

    __slots__ = ("left_out",)

    def __init__(self) -> None:
        super().__init__(PER_SECOND, AT_ONCE)
        self.left_out = 0
