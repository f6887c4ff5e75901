"""Values that come faster than they may go out: merged by key, with a pause after each flush.

The first value of a key goes out at once. What comes in the interval behind it is merged into one
value, which goes out when the interval is over; and so on, until an interval has brought nothing.
So a quiet key waits for nothing, and a busy one costs its receivers the same however busy it is.
At most one interval passes between `add` and the flush.
"""

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, Protocol, TypeVar

from hosting.faults import Faults

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Lets it not come."""


CallLater = Callable[[float, Callable[[], None]], Timer]
"""Makes a call after so many seconds."""


def _call_later(seconds: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, call)


class Coalescer(Generic[Key, Value]):
    """Values on their way out.

    Args:
        flush: lets a value of a key out; called by `add`, or by a timer. What it raises is
            logged: the value is lost, and later ones are not. It may call `add` itself.
        merge: returns one value for two of a key, the earlier one first. It may change the
            earlier one and return it.
        interval: how many seconds after a flush of a key the next one may be; asked for at each.
        faults: logs failures.
        call_later: that of the running event loop.
    """

    def __init__(
        self,
        flush: Callable[[Key, Value], None],
        merge: Callable[[Value, Value], Value],
        interval: Callable[[Key], float],
        faults: Faults,
        call_later: CallLater = _call_later,
    ) -> None:
        self._flush = flush
        self._merge = merge
        self._interval = interval
        self._faults = faults
        self._call_later = call_later
        # Of each key that went out less than an interval ago: the end of the interval.
        self._pauses: dict[Key, Timer] = {}
        # What came since.
        self._waiting: dict[Key, Value] = {}

    def __len__(self) -> int:
        """How many keys have something waiting."""
        return len(self._waiting)

    def add(self, key: Key, value: Value) -> None:
        """Lets a value out, now or later. It belongs to this object from now on."""
        if key not in self._pauses:
            self._let_out(key, value)
        elif key in self._waiting:
            self._waiting[key] = self._merge(self._waiting[key], value)
        else:
            self._waiting[key] = value

    def discard(self, key: Key) -> None:
        """Drops what waits of a key; its next value goes out at once."""
        self._waiting.pop(key, None)
        pause = self._pauses.pop(key, None)
        if pause is not None:
            pause.cancel()

    def close(self) -> None:
        """Drops all that waits."""
        for key in tuple(self._pauses):
            self.discard(key)

    def _let_out(self, key: Key, value: Value) -> None:
        try:
            # First: `flush` may add to the same key.
            self._pauses[key] = self._call_later(self._interval(key), partial(self._go_on, key))
            self._flush(key, value)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("flush failed", error)

    def _go_on(self, key: Key) -> None:
        del self._pauses[key]
        if key in self._waiting:
            self._let_out(key, self._waiting.pop(key))
