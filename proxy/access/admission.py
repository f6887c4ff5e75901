"""Who may open a WebSocket: which pages, and how many from one address; what they share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import Final

from aiohttp import web

from hosting.addresses import client_key
from hosting.logs import get_logger
from hosting.metadata import shortened
from hosting.rate_limits import (
    BURST_SECONDS,
    Allowance,
    AnyAllowance,
    Bucket,
    JointAllowance,
    Ledger,
    Rates,
)
from proxy.access.forwarded import Headers, TrustedProxies
from proxy.access.origins import Origins
from proxy.config import Admittance
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)

# So many allowances that are not whole are kept for the next clients of an address.
_KEPT: Final = 64
# Of so many origins the log says that they were refused.
_TOLD: Final = 100
# When there is room again for an address, nobody knows.
_FULL_SECONDS: Final = 10


class Admission:
    """Lets handshakes in.

    Args:
        config: the settings.
        metrics: counts who is refused.
        rates: how often a client may ask.

    Attributes:
        proxies: the proxies in front that are believed.
    """

    def __init__(
        self, config: Admittance, metrics: ProxyMetrics, rates: Rates | None = None
    ) -> None:
        self._metrics = metrics
        self.proxies = TrustedProxies(config.trusted_proxies)
        self._origins = Origins(config.origins)
        # The origins that were told of.
        self._told: set[str] = set()
        self._most = config.connections_per_address
        make = partial(
            Address,
            config.handshakes_per_second,
            rates or Rates(),
            config.clients_per_address,
        )
        self._addresses: Ledger[str, Address] = Ledger(make)

    def check_in(self, peer: str, headers: Headers) -> Admitted:
        """Counts a connection while the context is open.

        Args:
            peer: the address that it comes from.
            headers: those of its handshake.

        Raises:
            aiohttp.web.HTTPForbidden: a page of another origin opens it.
            aiohttp.web.HTTPTooManyRequests: the address opens too many; it says when to
                try again.
        """
        if not self._origins.allow(headers.getall("Origin", []), self.proxies.host(peer, headers)):
            self._metrics.turned_away["origin"] += 1
            self._tell(headers.getall("Origin", []))
            raise web.HTTPForbidden(text="pages of this origin may not connect\n")
        address = self._addresses.of(client_key(self.proxies.client(peer, headers)))
        wait = address.handshakes.take(time.monotonic())
        if wait:
            self._metrics.turned_away["rate"] += 1
            raise _too_many("too many connections at once", ceil(wait))
        if self._most and address.open >= self._most:
            self._metrics.turned_away["address"] += 1
            raise _too_many("too many connections from this address", _FULL_SECONDS)
        return Admitted(address)

    def _tell(self, origins: Sequence[str]) -> None:
        """Says once of each origin how it would be let in, to whoever runs the proxy."""
        origin = shortened(", ".join(origins))
        if origin not in self._told and len(self._told) < _TOLD:
            self._told.add(origin)
            log.info("page of another origin refused", origin=origin, listed_by="PROXY_ORIGINS")


class Address:
    """One address, or network, and what its clients may still do.

    Args:
        handshakes: how many connections may be opened in a second; 0 for no limit.
        rates: how often one client may ask.
        clients: as how many all of them may ask together; 0 for no limit.

    Attributes:
        handshakes: for each connection that is opened.
        open: how many there are.
    """

    __slots__ = ("_common", "_left", "_rates", "handshakes", "open")

    def __init__(self, handshakes: float, rates: Rates, clients: int) -> None:
        self.handshakes = Bucket(handshakes, handshakes * BURST_SECONDS)
        self.open = 0
        self._rates = rates
        self._common = Allowance(rates, clients) if clients else None
        # Of clients that are gone.
        self._left: list[Allowance] = []

    def enter(self) -> Allowance:
        """Counts a connection; returns what it may do.

        Who comes again finds what it left, and so nobody begins anew by going.
        """
        self.open += 1
        return self._left.pop() if self._left else Allowance(self._rates)

    def leave(self, own: Allowance) -> None:
        """A connection has ended; takes what it may do back."""
        self.open -= 1
        if self._common is None:
            return
        now = time.monotonic()
        if not own.is_whole(now):
            self._left = [each for each in self._left if not each.is_whole(now)][1 - _KEPT :]
            self._left.append(own)

    def charges(self, own: Allowance) -> AnyAllowance:
        """What a connection may do, as long as the address may."""
        return own if self._common is None else JointAllowance(own, self._common)

    def is_whole(self, now: float) -> bool:
        """Whether it is as good as new."""
        if self.open or not self.handshakes.is_whole(now):
            return False
        if self._common is not None and not self._common.is_whole(now):
            return False
        return all(own.is_whole(now) for own in self._left)


class Admitted:
    """A connection is counted while this context is open.

    As thousands of connections have one each for as long as they live, it is no generator.

    Args:
        address: where it comes from.
    """

    __slots__ = ("_address", "_own")

    def __init__(self, address: Address) -> None:
        self._address = address

    def __enter__(self) -> AnyAllowance:
        self._own = self._address.enter()
        return self._address.charges(self._own)

    def __exit__(self, *_: object) -> None:
        self._address.leave(self._own)


def _too_many(text: str, seconds: int) -> web.HTTPTooManyRequests:
    return web.HTTPTooManyRequests(text=f"{text}\n", headers={"Retry-After": str(seconds)})
