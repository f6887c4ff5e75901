"""The times of messages, by a clock that may be set: no I/O but that clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from hosting.logs import get_logger

log = get_logger(__name__)

Clock = Callable[[], int]
"""The wall clock: nanoseconds since 1970, as `time.time_ns`."""

LEAD_SECONDS: Final = 10
"""How far a time may be ahead of the clock, so that it is not earlier than the one before."""

_LEAD: Final = LEAD_SECONDS * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The largest `google.protobuf.Timestamp`.
_END: Final = 253_402_300_800_000_000


class Stamps:
    """Gives out times, none earlier than the one before unless the clock was set back far.

    A clock that is set back a little is waited for. One that was wrong for a moment must
    not make that moment the time of all messages until the clock has come to it again: a
    lead of more than `LEAD_SECONDS` is given up, with a line in the log.

    Args:
        last: the newest time that was given out before, in microseconds since 1970.
    """

    def __init__(self, clock: Clock, last: int = 0) -> None:
        self._clock = clock
        self._last = _within(last)

    def next(self) -> int:
        """Returns the time, in microseconds since 1970."""
        now = _within(self._clock() // 1000)
        lead = self._last - now
        if 0 < lead <= _LEAD:
            return self._last
        if lead > 0:
            log.warning(
                "times of messages go back, as the clock does",
                by_seconds=round(lead / 1_000_000, 3),
                from_time=from_micros(self._last).isoformat(),
                to_time=from_micros(now).isoformat(),
            )
        self._last = now
        return now


def _within(micros: int) -> int:
    return min(max(0, micros), _END - 1)


def from_micros(micros: int) -> datetime:
    """Turns microseconds since 1970 into a time in UTC."""
    return _EPOCH + timedelta(microseconds=micros)
