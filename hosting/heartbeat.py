"""Asking a silent peer for a sign of life, and dropping one that gives none.

Nobody tells when a link has died, and a side that has nothing to write would never notice.
Time is counted in beats, halves of a heartbeat: after two without a word the peer is asked,
after a third it is dead. So it has at least half a heartbeat to answer.

A beat that comes late does not count: the process stood still, and what peers said meanwhile has
not been read.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto
from typing import Final

_ASK_AT: Final = 2
_DEAD_AT: Final = 3


class Beat(Enum):
    """The verdict of a beat."""

    ALIVE = auto()
    ASK = auto()
    DEAD = auto()


class Heartbeat:
    """The silence of one peer, in beats: no I/O and no timer of its own."""

    __slots__ = ("_silent",)

    def __init__(self) -> None:
        self._silent = 0

    def heard(self) -> None:
        """Notes that something came from the peer."""
        self._silent = 0

    def beat(self) -> Beat:
        """Notes that half a heartbeat has passed; returns what to do about it."""
        self._silent += 1
        if self._silent == _ASK_AT:
            return Beat.ASK
        return Beat.DEAD if self._silent >= _DEAD_AT else Beat.ALIVE


def is_late(seconds: float, due: float, now: float) -> bool:
    """Whether a beat comes so late that the process must have stood still.

    Args:
        seconds: the heartbeat.
        due: when the beat was due, by the clock of the event loop.
        now: the time by that clock.
    """
    return now - due > seconds / 4


async def beats(seconds: float) -> AsyncIterator[None]:
    """Yields at each beat of a heartbeat, but for those that are late. It has no end."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + seconds / 2
        await asyncio.sleep(seconds / 2)
        if not is_late(seconds, due, loop.time()):
            yield


class HeartbeatTimer(Heartbeat):
    """The heartbeat of one peer, with a timer.

    Args:
        seconds: the heartbeat.
        ask: asks the peer for a sign of life.
        end: ends the connection.
        is_deaf: tells whether nothing is read from the peer now, so that it may have spoken.
    """

    __slots__ = ("_ask", "_due", "_end", "_is_deaf", "_seconds", "_timer")

    def __init__(
        self,
        seconds: float,
        *,
        ask: Callable[[], None],
        end: Callable[[], None],
        is_deaf: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._seconds = seconds
        self._ask = ask
        self._end = end
        self._is_deaf = is_deaf
        self._schedule()

    def stop(self) -> None:
        """Stops the timer."""
        self._timer.cancel()

    def _schedule(self) -> None:
        # One timer, not one restarted by each piece of data.
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._seconds / 2
        self._timer = loop.call_at(self._due, self._check)

    def _check(self) -> None:
        late = is_late(self._seconds, self._due, asyncio.get_running_loop().time())
        self._schedule()
        if late:
            return
        if self._is_deaf():
            self.heard()
            return
        match self.beat():
            case Beat.ASK:
                self._ask()
            case Beat.DEAD:
                self._end()
            case Beat.ALIVE:
                pass
