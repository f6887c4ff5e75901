"""The address of a client behind other proxies: no I/O.

`X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` are believed if they come from
a trusted address. Each proxy appends the address of its peer to `X-Forwarded-For`. So the
client is the last address of the list that is not trusted: the client may have written
itself all that stands before.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Protocol

from hosting.addresses import Address, parse


class Headers(Protocol):
    """The headers of a request."""

    def get(self, name: str, default: str, /) -> str:
        """The first value of a header."""

    def getall(self, name: str, default: list[str], /) -> list[str]:
        """All its values."""


_FOR: Final = "X-Forwarded-For"
_HOST: Final = "X-Forwarded-Host"
_PROTO: Final = "X-Forwarded-Proto"


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
        """Whether the headers of a peer are believed."""
        address = parse(peer)
        return address is not None and self._has(address)

    def client(self, peer: str, headers: Headers) -> str:
        """The address of the client.

        Args:
            peer: the address that the connection comes from.
            headers: the headers of its request.
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
        """The scheme that the client speaks, such as ``https``; empty if that is not known."""
        return self._told(peer, headers, _PROTO).lower()

    def _told(self, peer: str, headers: Headers, name: str) -> str:
        values = headers.getall(name, []) if self._networks else []
        if not values or not self.trusts(peer):
            return ""
        return ",".join(values).rpartition(",")[2].strip()

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"trusted-proxies must be addresses or networks: {error}") from None
