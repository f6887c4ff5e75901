"""Who a client is, if there are other proxies in front: no I/O.

`X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` are believed of those alone
whose addresses are trusted. Each of them writes what it saw at the end of
`X-Forwarded-For`. So the client is the last address of the list that is not trusted:
what stands before that, the client may have written itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Protocol

Address = IPv4Address | IPv6Address


class Headers(Protocol):
    """The headers of a request."""

    def get(self, name: str, default: str, /) -> str:
        """The first value of a header."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """All its values."""


_FOR: Final = "X-Forwarded-For"
_HOST: Final = "X-Forwarded-Host"
_PROTO: Final = "X-Forwarded-Proto"
# Some write the client's port, too.
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
# Whoever has an IPv6 address has as many as there are in such a network.
_IPV6_CLIENT_BITS: Final = 64


class TrustedProxies:
    """The proxies that are believed.

    Args:
        networks: their addresses, or networks of them.

    Raises:
        ValueError: one of them is neither; the text names it.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(map(_network, networks))

    def trusts(self, peer: str) -> bool:
        """Whether what comes from an address is believed."""
        address = parse(peer)
        return address is not None and self._has(address)

    def client(self, peer: str, headers: Headers) -> str:
        """The address of the client.

        Args:
            peer: where the connection comes from.
            headers: those of its request.
        """
        address = parse(peer)
        if address is None:
            return peer
        hops = ",".join(headers.getall(_FOR, [])).split(",") if self._networks else []
        while self._has(address) and hops:
            hop = parse(hops.pop())
            if hop is None:
                break
            address = hop
        return str(address)

    def host(self, peer: str, headers: Headers) -> str:
        """The host and port that the client asked for."""
        return self._told(peer, headers, _HOST) or headers.get("Host", "")

    def scheme(self, peer: str, headers: Headers) -> str:
        """What the client speaks, such as ``https``; empty if nobody tells."""
        return self._told(peer, headers, _PROTO).lower()

    def _told(self, peer: str, headers: Headers, name: str) -> str:
        values = headers.getall(name, []) if self._networks else []
        if not values or not self.trusts(peer):
            return ""
        return ",".join(values).rpartition(",")[2].strip()

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def parse(text: str) -> Address | None:
    """Reads an address, with or without a port; `None` if it is none."""
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((found["six"] or found["four"]) if found else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # An IPv4 client at a socket for both.
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def client_key(address: str) -> str:
    """What clients at an address are counted by: for IPv6, its network."""
    found = parse(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), _IPV6_CLIENT_BITS), strict=False))
    return address if found is None else str(found)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"trusted-proxies must be addresses or networks: {error}") from None
