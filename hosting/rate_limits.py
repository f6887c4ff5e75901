"""Token buckets: how often something may be done. No I/O and no clock of its own.

A bucket holds so many tokens, and is filled again at a steady rate. What is done takes
one out; when none is left, it has to wait. So in a time of ``t`` seconds no more is
done than the bucket holds and what flows into it in ``t``.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from math import ceil, inf, isfinite
from typing import Final, Generic, Protocol, TypeVar

BURST_SECONDS: Final = 10
"""The burst of each bucket, in seconds' worth of its rate."""

# The refusals of both processes, for requests beyond a rate.
MESSAGES: Final = "too many messages"
JOINS: Final = "too many rooms at once"
CALLS: Final = "too many requests"
HISTORY: Final = "too much history at once"

# Refusals before a client counts as one that ignores them: at once, and then each second.
# Each refusal says when to retry, and a client that waits so long is not refused again.
_REFUSALS: Final = 1000
_REFUSALS_PER_SECOND: Final = 10

# Once in some 30 years: the wait still fits into what clients are told.
_SLOWEST: Final = 1e-9
# Clients are told to wait by a uint32: 49 days.
_LONGEST_WAIT_MS: Final = 2**32 - 1
# A bucket that lacks at most so many tokens counts as unused: see `Joint`.
_UNUSED: Final = 10

_FIRST_SWEEP: Final = 1024
_NEVER: Final = -inf


class Bucket:
    """One bucket; full at first.

    It is kept as the time at which it will be full again, which is one number (the
    virtual scheduling of the generic cell rate algorithm, ITU-T I.371, annex A).

    Args:
        per_second: how many tokens flow into it in a second; 0 for no limit.
        holds: how many tokens it holds, at least 1.
    """

    __slots__ = ("_full_at", "_interval", "_promised", "_span")

    def __init__(self, per_second: float, holds: float) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._span = max(holds, 1) / per_second if per_second else inf
        self._full_at = self._promised = _NEVER

    def take(self, now: float, n: float = 1) -> float:
        """Takes tokens out.

        Whoever is refused is given a place behind those who were refused before, so that
        they do not all come back at once, for the same token.

        Args:
            now: the time in seconds; it never runs backward.
            n: how many; all or none are taken. At most what the bucket holds.

        Returns:
            0 if they were taken, else after how many seconds to try again.
        """
        if not self._interval:
            return 0.0
        full_at = max(now, self._full_at)
        full_at += n * self._interval
        if full_at - now <= self._span:
            self._full_at = full_at
            return 0.0
        soonest = full_at - self._span
        place = max(soonest, min(self._promised + n * self._interval, now + self._span))
        self._promised = place
        return place - now

    def spend(self, now: float, n: float) -> float:
        """Takes out what was used already, if need be more than there is.

        Args:
            now: the time in seconds; it never runs backward.
            n: how many tokens.

        Returns:
            0 if there were enough, else after how many seconds nothing is owed any more.
        """
        if not self._interval:
            return 0.0
        self._full_at = max(now, self._full_at) + n * self._interval
        return self.owes(now)

    def owes(self, now: float) -> float:
        """After how many seconds nothing is owed any more; 0 if that is so already."""
        return max(self._full_at - now - self._span, 0.0)

    def has_all_but(self, now: float, n: float) -> bool:
        """Returns True if at most so many tokens are missing."""
        return self._full_at - now <= n * self._interval

    def give_back(self, n: float = 1) -> None:
        """Puts back what was taken."""
        self._full_at -= n * self._interval

    def lack(self, now: float, seconds: float) -> None:
        """Takes as much out as lets it take so long until it is full again, unless it does.

        Args:
            now: the time in seconds; it never runs backward.
            seconds: how long; more than it takes for an empty one lets it owe.
        """
        self._full_at = max(self._full_at, now + seconds)

    def is_whole(self, now: float) -> bool:
        """Returns True if it is full, and so equal to a new one."""
        return self._full_at <= now and self._promised <= now


# Without a rate there is no state: all share one bucket.
_ENDLESS: Final = Bucket(0, 1)


class AnyBucket(Protocol):
    """The methods of `Bucket`."""

    def take(self, now: float, n: int = 1) -> float:
        """See `Bucket`."""

    def spend(self, now: float, n: float) -> float:
        """See `Bucket`."""

    def owes(self, now: float) -> float:
        """See `Bucket`."""


class Joint:
    """A bucket of one client within a shared one: both must have enough tokens.

    An empty shared bucket does not stop a client whose own bucket is nearly full: a client that
    asks no faster than its bucket fills is not hurt by neighbours that ask for much.
    """

    __slots__ = ("_common", "_own")

    def __init__(self, own: Bucket, common: Bucket) -> None:
        self._own = own
        self._common = common

    def take(self, now: float, n: int = 1) -> float:
        """See `Bucket.take`."""
        wait = self._own.take(now, n)
        if wait:
            return wait
        return self._unless_unused(now, self._common.take(now, n))

    def spend(self, now: float, n: float) -> float:
        """See `Bucket.spend`."""
        own, common = self._own.spend(now, n), self._common.spend(now, n)
        return max(own, self._unless_unused(now, common))

    def owes(self, now: float) -> float:
        """See `Bucket.owes`."""
        return max(self._own.owes(now), self._unless_unused(now, self._common.owes(now)))

    def _unless_unused(self, now: float, wait: float) -> float:
        return 0.0 if wait and self._own.has_all_but(now, _UNUSED) else wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Rates of each kind of request, per second; 0 for no limit.

    Attributes:
        sends: messages.
        joins: rooms that are entered.
        calls: everything else: pages of history, users.
        history: messages of the history, in pages or replayed.
    """

    sends: float = 0.0
    joins: float = 0.0
    calls: float = 0.0
    history: float = 0.0

    def __post_init__(self) -> None:
        """Checks each rate.

        Raises:
            ValueError: a rate is out of range; the text names it.
        """
        for each in fields(self):
            check_rate(f"{each.name}-per-second", getattr(self, each.name))


def check_rate(name: str, rate: float) -> None:
    """Checks a rate.

    Raises:
        ValueError: it is none; the text begins with its name.
    """
    if not (isfinite(rate) and rate >= 0):
        raise ValueError(f"{name} must be a finite number, not negative")
    if 0 < rate < _SLOWEST:
        raise ValueError(f"{name} must be 0, or at least {_SLOWEST}")


B_co = TypeVar("B_co", bound=AnyBucket, covariant=True)


class Buckets(Generic[B_co]):
    """A bucket for each kind of request.

    Args:
        make: makes the bucket of a kind, by its name.

    Attributes:
        sends: for each message.
        joins: for each room that is entered.
        calls: for everything else.
        history: for each message of the history.
        refusals: for each time that it was refused: when none is left, it does not listen.
    """

    __slots__ = ("calls", "history", "joins", "refusals", "sends")

    def __init__(self, make: Callable[[str], B_co]) -> None:
        self.sends: Final = make("sends")
        self.joins: Final = make("joins")
        self.calls: Final = make("calls")
        self.history: Final = make("history")
        self.refusals: Final = make("refusals")


AnyAllowance = Buckets[AnyBucket]


def _plain_bucket(_: str, per_second: float, holds: float) -> Bucket:
    return Bucket(per_second, holds)


class Allowance(Buckets[Bucket]):
    """The buckets of one client, or of several together.

    Args:
        rates: the rates of one client.
        clients: the number of clients.
        make_bucket: makes the bucket of a kind that has a rate.
    """

    __slots__ = ()

    def __init__(
        self,
        rates: Rates,
        clients: float = 1,
        make_bucket: Callable[[str, float, float], Bucket] = _plain_bucket,
    ) -> None:
        def make(kind: str) -> Bucket:
            if kind == "refusals":
                return Bucket(_REFUSALS_PER_SECOND * clients, _REFUSALS * clients)
            # Each client has an allowance for as long as it is there: it is kept small.
            rate: float = getattr(rates, kind) * clients
            return make_bucket(kind, rate, rate * BURST_SECONDS) if rate else _ENDLESS

        super().__init__(make)

    def is_whole(self, now: float) -> bool:
        """Returns True if it equals a new one."""
        return all(getattr(self, kind).is_whole(now) for kind in Buckets.__slots__)


class JointAllowance(Buckets[Joint]):
    """The allowance of one client, within one that it shares with others; see `Joint`."""

    __slots__ = ()

    def __init__(self, own: Allowance, common: Allowance) -> None:
        super().__init__(lambda kind: Joint(getattr(own, kind), getattr(common, kind)))


class _Refillable(Protocol):
    def is_whole(self, now: float) -> bool: ...


Key = TypeVar("Key", bound=Hashable)
Held = TypeVar("Held", bound=_Refillable)


class BucketTable(Generic[Key, Held]):
    """Buckets by key; those that are full again are dropped.

    So a client that goes and comes back gets no fresh bucket, and the table does not grow
    with every client that ever came.

    Args:
        make: makes one.
        clock: returns the time in seconds.
    """

    def __init__(
        self, make: Callable[[], Held], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make = make
        self._clock = clock
        self._held: dict[Key, Held] = {}
        self._sweep_at = _FIRST_SWEEP

    def __len__(self) -> int:
        return len(self._held)

    def of(self, key: Key, make: Callable[[], Held] | None = None) -> Held:
        """Returns the bucket of a key, to be used at once.

        Args:
            key: whose it is.
            make: makes it, if it is one that knows its key.
        """
        held = self._held.get(key)
        if held is None:
            if len(self._held) >= self._sweep_at:
                self._sweep()
            held = self._held[key] = (make or self._make)()
        return held

    def _sweep(self) -> None:
        now = self._clock()
        self._held = {key: held for key, held in self._held.items() if not held.is_whole(now)}
        # Twice as many as are left: so each is looked at a bounded number of times.
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._held))


def milliseconds(seconds: float) -> int:
    """A wait in whole milliseconds for clients: rounded up, at least 1, at most a uint32."""
    return max(1, min(ceil(seconds * 1000), _LONGEST_WAIT_MS))
