"""Whether a client that says nothing is still there: no I/O of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

# After so many halves of a heartbeat without a word.
_ASK_AT: Final = 2
_DEAD_AT: Final = 3


class Pulse:
    """Asks a silent client for a sign of life, and ends it if none comes.

    Nobody tells when a link has died, and a server that has nothing to write would
    never notice.

    Args:
        seconds: the heartbeat. Who has been silent for that long, at most, is asked,
            and ended after another half.
        ask: asks the client.
        end: ends it.
        deaf: tells whether nothing is read from it now: then it may well have spoken.
    """

    def __init__(
        self,
        seconds: float,
        *,
        ask: Callable[[], None],
        end: Callable[[], None],
        deaf: Callable[[], bool],
    ) -> None:
        self._seconds = seconds
        self._ask = ask
        self._end = end
        self._deaf = deaf
        self._silent = 0
        self._beat()

    def heard(self) -> None:
        """Something came from the client."""
        self._silent = 0

    def stop(self) -> None:
        """The connection has ended."""
        self._timer.cancel()

    def _beat(self) -> None:
        # One timer, not one restarted by each piece of data.
        self._timer = asyncio.get_running_loop().call_later(self._seconds / 2, self._check)

    def _check(self) -> None:
        self._beat()
        self._silent = 0 if self._deaf() else self._silent + 1
        if self._silent == _ASK_AT:
            self._ask()
        elif self._silent >= _DEAD_AT:
            self._end()
