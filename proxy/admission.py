"""Who may open a WebSocket: which pages, and how many from one address."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from math import ceil
from typing import Final

from aiohttp import web

from daemon.buckets import BURST_SECONDS, Bucket, Ledger
from daemon.hosts import client_key
from proxy.config import Admittance
from proxy.forwarded import Headers, TrustedProxies
from proxy.metrics import ProxyMetrics
from proxy.origins import Origins

# When there is room again for an address, nobody knows.
_FULL_SECONDS: Final = 10


class Admission:
    """Lets handshakes in.

    Args:
        config: the settings.
        metrics: counts who is refused.

    Attributes:
        proxies: the proxies in front that are believed.
    """

    def __init__(self, config: Admittance, metrics: ProxyMetrics) -> None:
        self._metrics = metrics
        self.proxies = TrustedProxies(config.trusted_proxies)
        self._origins = Origins(config.origins)
        self._most = config.connections_per_address
        self._open: Counter[str] = Counter()
        rate = config.handshakes_per_second
        self._handshakes: Ledger[str, Bucket] = Ledger(partial(Bucket, rate, rate * BURST_SECONDS))

    def admit(self, peer: str, headers: Headers) -> Admitted:
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
            raise web.HTTPForbidden(text="pages of this origin may not connect\n")
        key = client_key(self.proxies.client(peer, headers))
        wait = self._handshakes.of(key).take(time.monotonic())
        if wait:
            self._metrics.turned_away["rate"] += 1
            raise _too_many("too many connections at once", ceil(wait))
        if self._most and self._open[key] >= self._most:
            self._metrics.turned_away["address"] += 1
            raise _too_many("too many connections from this address", _FULL_SECONDS)
        return Admitted(self._open, key)


class Admitted:
    """A connection is counted while this context is open.

    As thousands of connections have one each for as long as they live, it is no generator.

    Args:
        counts: how many connections each address has.
        key: the address.
    """

    __slots__ = ("_counts", "_key")

    def __init__(self, counts: Counter[str], key: str) -> None:
        self._counts = counts
        self._key = key

    def __enter__(self) -> None:
        self._counts[self._key] += 1

    def __exit__(self, *_: object) -> None:
        self._counts[self._key] -= 1
        if not self._counts[self._key]:
            del self._counts[self._key]


def _too_many(text: str, seconds: int) -> web.HTTPTooManyRequests:
    return web.HTTPTooManyRequests(text=f"{text}\n", headers={"Retry-After": str(seconds)})
