"""A rate limit on log lines, so that no client can fill the log.

Each event, by its logger and level, has a burst and a rate. The next line that passes says how
many were left out before it. Lines at level "debug" are not limited.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from hosting.rate_limits import Bucket, BucketTable

AT_ONCE: Final = 100
"""The burst: lines of one event at once."""

PER_SECOND: Final = 1.0
"""The rate: lines of one event in a second."""


class Damper(logging.Filter):
    """Drops lines of events that exceed their rate."""

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
    """The allowance of an event, and the number of its lines left out since the last one."""

    __slots__ = ("left_out",)

    def __init__(self) -> None:
        super().__init__(PER_SECOND, AT_ONCE)
        self.left_out = 0
