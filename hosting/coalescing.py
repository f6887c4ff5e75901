"""Values that come faster than they may go out: merged by key, with a pause after each flush.

The first value of a key goes out at once. What comes in the interval behind it is merged into one
value, which goes out when the interval is over; and so on, until an interval has brought nothing.
So a quiet key waits for nothing, and a busy one costs its receivers the same however busy it is.
At most one interval passes between `add` and the flush.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from hosting.faults import Faults

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


# Receivers of a key together are told about so many values a second.
_TOLD_A_SECOND: Final = 1000.0
_LONGEST_SECONDS: Final = 1.0


def interval_of(receivers: int, shortest: float) -> float:
    """Returns the interval of a key: the longer, the more get what is told.

    So what it costs to tell of it is bounded, however many receivers there are, up to a thousand.

    Args:
        receivers: how many they are.
        shortest: the interval of a few, in seconds.

    Returns:
        Seconds, at most 1.
    """
    return min(max(shortest, receivers / _TOLD_A_SECOND), _LONGEST_SECONDS)


class Coalescer(Generic[Key, Value]):
    """Values on their way out.

    Args:
        tell: lets a value of a key out; called by `add`, `flush` or a timer. What it raises is
            logged: the value is lost, and later ones are not. It may call `add` itself.
        merge: returns one value for two of a key, the earlier one first. It may change the
            earlier one and return it.
        interval: how many seconds after a flush of a key the next one may be; asked for at each.
        faults: logs failures.
    """

    def __init__(
        self,
        tell: Callable[[Key, Value], None],
        merge: Callable[[Value, Value], Value],
        interval: Callable[[Key], float],
        faults: Faults,
    ) -> None:
        self._tell = tell
        self._merge = merge
        self._interval = interval
        self._faults = faults
        # Of each key that went out less than an interval ago: the end of the interval.
        self._pauses: dict[Key, asyncio.TimerHandle] = {}
        # What came since.
        self._waiting: dict[Key, Value] = {}

    def __len__(self) -> int:
        """How many keys have something waiting."""
        return len(self._waiting)

    def waiting(self, key: Key) -> Value | None:
        """Returns what waits of a key, if anything."""
        return self._waiting.get(key)

    def add(self, key: Key, value: Value) -> None:
        """Lets a value out, now or later. It belongs to this object from now on."""
        if key not in self._pauses:
            self._let_out(key, value)
        elif key in self._waiting:
            self._waiting[key] = self._merge(self._waiting[key], value)
        else:
            self._waiting[key] = value

    def flush(self, key: Key) -> None:
        """Lets out what waits of a key, if anything, and begins an interval anew."""
        if key in self._waiting:
            self._pauses.pop(key).cancel()
            self._let_out(key, self._waiting.pop(key))

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
            # First: `tell` may add to the same key.
            pause = asyncio.get_running_loop().call_later(self._interval(key), self._go_on, key)
            self._pauses[key] = pause
            self._tell(key, value)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("flush failed", error)

    def _go_on(self, key: Key) -> None:
        del self._pauses[key]
        if key in self._waiting:
            self._let_out(key, self._waiting.pop(key))
