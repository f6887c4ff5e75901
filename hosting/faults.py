"""Logs of unexpected failures: each in full once, then counted for a while."""

import time
from collections.abc import Callable
from typing import Any, Final

from hosting.logs import get_logger

log = get_logger(__name__)

INTERNAL_TEXT: Final = "internal error"
"""The text that a client gets for a failure; the log has the whole story."""

# The same failure is logged again after so long.
_QUIET_SECONDS: Final = 60.0

_Place = tuple[str, type[BaseException], str, int]


class Faults:
    """Logs failures, by the place in the code where each was raised."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The time each was last logged, and its repeats since then. There are no more of them
        # than places in the code.
        self._seen: dict[_Place, tuple[float, int]] = {}

    def log(self, event: str, error: BaseException, **about: Any) -> None:
        """Logs a failure with its traceback; one that was logged a moment ago is only counted.

        Args:
            event: what failed.
            error: why.
            about: further fields that help to find the cause; no content, no token.
        """
        place, now = _place(event, error), self._clock()
        told, repeats = self._seen.get(place, (None, 0))
        if told is not None and now - told < _QUIET_SECONDS:
            self._seen[place] = told, repeats + 1
            return
        self._seen[place] = now, 0
        if repeats:
            about["repeats"] = repeats
        log.error(event, exc_info=error, **about)


def _place(event: str, error: BaseException) -> _Place:
    trace = error.__traceback__
    if trace is None:
        return event, type(error), "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return event, type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno
