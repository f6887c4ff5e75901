"""The work that a connection may cause before a caller on it has been authenticated.

============  =======================================  =========================
what          is taken from                            a client that overdraws
============  =======================================  =========================
a call        the connection's own, then its           is refused, and told when
              address's                                to come back
work          likewise                                 is told ENHANCE_YOUR_CALM
a connection  its address's                            is not let in
============  =======================================  =========================

A connection's own allowance flows steadily, and holds little. A burst is taken from that
of its address, which a client that connects again finds as it left it. So a client that
asks now and then is served, whatever others at the same address do.

A call is given back when its caller is authenticated: it is counted by the caller's name
instead, by the application. No I/O.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from hosting.rate_limits import BURST_SECONDS, Bucket, BucketTable

BURST: Final = 10_000
"""The work that an address may cause at once. To answer a PING is 1."""

BURST_PER_SECOND: Final = 1000
"""How much of it grows again each second."""

CONNECTIONS_PER_SECOND: Final = 100
"""The connections that an address may make; ten seconds' worth at once."""

REFUSAL_WORK: Final = 5
"""The price of refusing a call."""

# The flow to a connection alone: a second's worth is kept, and so much there at first.
CALLS_PER_SECOND: Final = 25
FIRST_CALLS: Final = 5
WORK_PER_SECOND: Final = 100
FIRST_WORK: Final = 20
# Likewise, once a caller on it is authenticated. There may be as many calls under way.
_AUTHENTICATED_CALLS_PER_SECOND: Final = 100


class _AddressAllowance:
    """The allowance that the connections of an address share.

    Args:
        calls_per_second: the calls that flow to it.
    """

    __slots__ = ("calls", "connections", "work")

    def __init__(self, calls_per_second: float) -> None:
        holds = CONNECTIONS_PER_SECOND * BURST_SECONDS
        self.connections = Bucket(CONNECTIONS_PER_SECOND, holds)
        self.calls = Bucket(calls_per_second, calls_per_second * BURST_SECONDS)
        self.work = Bucket(BURST_PER_SECOND, BURST)

    def is_whole(self, now: float) -> bool:
        """Returns whether it is as good as new."""
        buckets = (self.calls, self.connections, self.work)
        return all(bucket.is_whole(now) for bucket in buckets)


_Addresses = BucketTable[str, _AddressAllowance]


class Allowances:
    """The allowances of all addresses, and of connections from them.

    Args:
        calls_per_address: how many calls a second there may be from an address whose
            callers are not known; 0 if addresses are not told apart, as behind a proxy
            in front. Then each connection has an allowance of work for itself, and
            calls are not counted.
        clock: tells the time in seconds.
    """

    def __init__(
        self, calls_per_address: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        make = partial(_AddressAllowance, calls_per_address)
        self._addresses: _Addresses | None = BucketTable(make, clock) if calls_per_address else None
        self._clock = clock

    def of(self, address: str) -> ConnectionAllowance:
        """Returns the allowance of a new connection."""
        return ConnectionAllowance(address, self._addresses, self._clock)


class ConnectionAllowance:
    """The allowance of one connection.

    Args:
        address: the key under which its client is counted.
        addresses: the allowances of addresses, if they are told apart.
        clock: tells the time in seconds.
    """

    __slots__ = ("_address", "_addresses", "_calls", "_clock", "_is_authenticated", "_work")

    def __init__(
        self, address: str, addresses: _Addresses | None, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._address = address
        self._addresses = addresses
        self._is_authenticated = False
        if addresses is None:
            self.exempt()
        else:
            self._calls = _begun(CALLS_PER_SECOND, FIRST_CALLS, clock())
            self._work = _begun(WORK_PER_SECOND, FIRST_WORK, clock())

    def take_call(self) -> float:
        """Takes one call.

        Returns:
            0 if it may be made, else after how many seconds to try again.
        """
        now = self._clock()
        wait = self._calls.take(now)
        if wait and self._addresses is not None:
            wait = min(wait, self._addresses.of(self._address).calls.take(now))
        return wait

    def take_work(self, amount: float) -> bool:
        """Takes some work; returns whether so much was left."""
        now = self._clock()
        if not self._work.take(now, amount):
            return True
        if self._addresses is None:
            return False
        return not self._addresses.of(self._address).work.take(now, amount)

    def take_connection(self) -> bool:
        """Takes the connection itself; returns whether there may be one more."""
        if self._addresses is None:
            return True
        return not self._addresses.of(self._address).connections.take(self._clock())

    def authenticated(self) -> None:
        """Gives a call back: it is counted by the name of its authenticated caller."""
        if self._is_authenticated:
            self._calls.give_back()
        else:
            self._is_authenticated = True
            holds = _AUTHENTICATED_CALLS_PER_SECOND * BURST_SECONDS
            self._calls = Bucket(_AUTHENTICATED_CALLS_PER_SECOND, holds)

    def exempt(self) -> None:
        """Lifts the bound on calls, and widens that on work.

        For a proxy: its calls and frames are those of many clients.
        """
        self._is_authenticated = True
        self._calls, self._work = Bucket(0, 1), Bucket(BURST_PER_SECOND, BURST)


def _begun(per_second: float, left: float, now: float) -> Bucket:
    """A bucket that holds a second's worth, of which so much is there."""
    bucket = Bucket(per_second, per_second)
    bucket.take(now, per_second - left)
    return bucket
