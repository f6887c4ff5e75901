"""Names and addresses of hosts."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

# Some write the client's port, too.
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
# Whoever has an IPv6 address has as many as there are in such a network.
_IPV6_CLIENT_BITS: Final = 64


def can_be_host(host: str) -> bool:
    """Whether an address or name can be looked up at all.

    A label of a name has 1 to 63 characters once it is encoded (RFC 3490, section 4.1).
    """
    try:
        return bool(host) and b"\0" not in host.encode("idna")
    except UnicodeError:
        return False


def is_loopback(host: str) -> bool:
    """Whether who listens on a host is reached from the same machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
