"""Names and addresses of hosts, and why one cannot be listened on."""

import errno
import os
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

# Some proxies add the port of the client.
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
# RFC 3986, section 3.2.2: an IPv6 address stands in brackets.
_ADDRESS: Final = re.compile(
    r"(?:\[(?P<ipv6>[^][/\s]+)\]|(?P<host>[^][:/\s]+)):(?P<port>[0-9]{1,5})"
)
# A client with one IPv6 address usually has a whole network of this size.
_IPV6_CLIENT_BITS: Final = 64


def can_be_host(host: str) -> bool:
    """Returns True if an address or name can be looked up at all.

    A label of a name has 1 to 63 characters once it is encoded (RFC 3490, section 4.1).
    """
    try:
        return bool(host) and b"\0" not in host.encode("idna")
    except UnicodeError:
        return False


def split_address(address: str, name: str = "address") -> tuple[str, int]:
    """Splits ``host:port``; an IPv6 address stands in brackets (RFC 3986, section 3.2.2).

    Args:
        address: the text.
        name: what an error calls it.

    Raises:
        ValueError: it is not such an address.
    """
    found = _ADDRESS.fullmatch(address)
    host = found and (found["ipv6"] or found["host"])
    if not found or not host or not can_be_host(host) or not 0 < int(found["port"]) <= 65535:
        raise ValueError(f"{name} must be HOST:PORT, such as 127.0.0.1:50051, not {address!r}")
    return host, int(found["port"])


def split_addresses(addresses: str, name: str = "addresses") -> tuple[tuple[str, int], ...]:
    """Splits one or several ``host:port`` with a comma between.

    Args:
        addresses: the text.
        name: what an error calls it.

    Raises:
        ValueError: one is no such address, or is there twice.
    """
    items = addresses.split(",")
    if len(items) == 1:
        return (split_address(addresses, name),)
    found: dict[tuple[str, int], tuple[str, int]] = {}
    for number, item in enumerate(items, start=1):
        try:
            host, port = split_address(item, name)
        except ValueError as error:
            of = f"item {number} is {repr(item) if item else 'empty'}"
            form = "HOST:PORT, or several with a comma and no space between"
            raise ValueError(f"{name} must be {form}: {of}") from error
        found[_plain(host), port] = host, port
        if len(found) < number:
            raise ValueError(f"{name} must not name {item} twice")
    return tuple(found.values())


def _plain(host: str) -> str:
    """Returns the one of several ways to write a host by which they are compared."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower()


def address_text(host: str, port: int) -> str:
    """Joins a host and a port, the reverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Returns True if a listener on a host is reachable from the same machine only."""
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
    """The key under which clients at an address are counted: for IPv6, its /64 network."""
    found = parse(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), _IPV6_CLIENT_BITS), strict=False))
    return address if found is None else str(found)


def reason(error: OSError) -> str:
    """The reason why a process cannot listen, for the operator."""
    if isinstance(error, socket.gaierror):
        # Its numbers are not those of `errno`.
        return error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return "another process is using this port"
    return os.strerror(error.errno) if error.errno else str(error)


def to_change(error: OSError) -> str:
    """The option that keeps a process from listening: "host" or "port"."""
    is_of_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    return "host" if is_of_host else "port"
