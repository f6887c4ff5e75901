"""Admission of WebSockets: which pages may open one, and how many one address may.

All clients of an address share an allowance, and one that comes again finds what it left.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from hosting.addresses import client_key
from hosting.kinds import RATE, whole, words
from hosting.logs import get_logger
from hosting.metadata import shortened
from hosting.rate_limits import (
    BURST_SECONDS,
    Allowance,
    AnyAllowance,
    Bucket,
    BucketTable,
    JointAllowance,
    Rates,
)
from hosting.settings import Settings, setting
from proxy.access.forwarded import Headers, TrustedProxies
from proxy.access.origins import Origins
from proxy.metrics import ProxyMetrics

log = get_logger(__name__)

# Allowances that are not whole, kept for the next clients of an address.
_KEPT: Final = 64
# The most origins whose refusal is logged.
_TOLD: Final = 100
# When there is room again for an address, nobody knows.
_FULL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRules(Settings):
    """Rules for opening a WebSocket."""

    origins: tuple[str, ...] = setting(
        (),
        words(lambda _, value: Origins(value)),
        "The origins of the pages that may connect, separated by commas. For example "
        "`https://chat.example.org`; `*` allows all, `self` is the page that the proxy itself "
        "serves. The default allows only that page.",
        group="Admission and rates",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        words(lambda _, value: TrustedProxies(value)),
        "The addresses or networks of the proxies in front, separated by commas. Only their "
        "`X-Forwarded-For`, `-Host` and `-Proto` headers are trusted.",
    )
    connections_per_address: int = setting(
        1000,
        whole(),
        "The maximum number of open WebSockets from one address, or from one IPv6 /64 network. 0 "
        "means no limit.",
    )
    handshakes_per_second: float = setting(
        50.0,
        RATE,
        "The WebSockets a second that may be opened from one address, in bursts of ten seconds' "
        "worth. 0 means no limit.",
    )
    clients_per_address: int = setting(
        20,
        whole(),
        "The total that all clients of an address may ask, in multiples of the next four options. "
        "A new connection continues with the allowance of a closed one. 0 means no limit.",
    )


class NotAdmitted(Exception):
    """A handshake is refused. The text is written for the client."""


class OriginNotAllowed(NotAdmitted):
    """A page of another origin opens it."""


class TooManyFromAddress(NotAdmitted):
    """Too many come from its address.

    Attributes:
        retry_after: the seconds after which to try again.
    """

    def __init__(self, text: str, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Admission:
    """Decides on handshakes.

    Args:
        rules: the rules.
        metrics: counts refusals.
        rates: the rates of one client.

    Attributes:
        proxies: the proxies in front that are believed.
    """

    def __init__(
        self, rules: AdmissionRules, metrics: ProxyMetrics, rates: Rates | None = None
    ) -> None:
        self._metrics = metrics
        self.proxies = TrustedProxies(rules.trusted_proxies)
        self._origins = Origins(rules.origins)
        # The origins that were told of.
        self._told: set[str] = set()
        self._most = rules.connections_per_address
        make = partial(
            Address,
            rules.handshakes_per_second,
            rates or Rates(),
            rules.clients_per_address,
        )
        self._addresses: BucketTable[str, Address] = BucketTable(make)

    def check_in(self, peer: str, headers: Headers) -> Admitted:
        """Returns a context in which a connection is counted.

        Args:
            peer: the address that it comes from.
            headers: those of its handshake.

        Raises:
            OriginNotAllowed: a page of another origin opens it.
            TooManyFromAddress: its address opens too many.
        """
        if not self._origins.allow(headers.getall("Origin", []), self.proxies.host(peer, headers)):
            self._metrics.turned_away["origin"] += 1
            self._tell(headers.getall("Origin", []))
            raise OriginNotAllowed("pages of this origin may not connect")
        address = self._addresses.of(client_key(self.proxies.client(peer, headers)))
        wait = address.handshakes.take(time.monotonic())
        if wait:
            self._metrics.turned_away["rate"] += 1
            raise TooManyFromAddress("too many connections at once", wait)
        if self._most and address.open >= self._most:
            self._metrics.turned_away["address"] += 1
            raise TooManyFromAddress("too many connections from this address", _FULL_SECONDS)
        return Admitted(address)

    def _tell(self, origins: Sequence[str]) -> None:
        """Tells an operator, once for each origin, how to let it in."""
        origin = shortened(", ".join(origins))
        if origin not in self._told and len(self._told) < _TOLD:
            self._told.add(origin)
            log.info("page of another origin refused", origin=origin, listed_by="PROXY_ORIGINS")


class Address:
    """One address, or network, and what is left for its clients.

    Args:
        handshakes: the connections that may be opened in a second; 0 for no limit.
        rates: the rates of one client.
        clients: all of them together may ask as often as so many; 0 for no limit.

    Attributes:
        handshakes: charged for each connection that is opened.
        open: the number of connections that are open.
    """

    __slots__ = ("_common", "_left", "_rates", "handshakes", "open")

    def __init__(self, handshakes: float, rates: Rates, clients: int) -> None:
        self.handshakes = Bucket(handshakes, handshakes * BURST_SECONDS)
        self.open = 0
        self._rates = rates
        self._common = Allowance(rates, clients) if clients else None
        # Allowances of clients that are gone.
        self._left: list[Allowance] = []

    def enter(self) -> Allowance:
        """Counts a connection; returns its allowance.

        It is one that a client left behind, if there is any: nobody begins anew by going.
        """
        self.open += 1
        return self._left.pop() if self._left else Allowance(self._rates)

    def leave(self, own: Allowance) -> None:
        """Counts a connection no more, and keeps its allowance."""
        self.open -= 1
        if self._common is None:
            return
        now = time.monotonic()
        if not own.is_whole(now):
            self._left = [each for each in self._left if not each.is_whole(now)][1 - _KEPT :]
            self._left.append(own)

    def charges(self, own: Allowance) -> AnyAllowance:
        """Returns what a connection's requests are charged to: it, and its address."""
        return own if self._common is None else JointAllowance(own, self._common)

    def is_whole(self, now: float) -> bool:
        """Whether nothing is missing from it: it need not be remembered."""
        if self.open or not self.handshakes.is_whole(now):
            return False
        if self._common is not None and not self._common.is_whole(now):
            return False
        return all(own.is_whole(now) for own in self._left)


class Admitted:
    """A context in which a connection is counted.

    Thousands of connections have one each for as long as they live: it is no generator.

    Args:
        address: its address.
    """

    __slots__ = ("_address", "_own")

    def __init__(self, address: Address) -> None:
        self._address = address

    def __enter__(self) -> AnyAllowance:
        self._own = self._address.enter()
        return self._address.charges(self._own)

    def __exit__(self, *_: object) -> None:
        self._address.leave(self._own)
