"""Names of hosts."""

from __future__ import annotations


def can_be_host(host: str) -> bool:
    """Whether an address or name can be looked up at all.

    A label of a name has 1 to 63 characters once it is encoded (RFC 3490, section 4.1).
    """
    try:
        return bool(host) and b"\0" not in host.encode("idna")
    except UnicodeError:
        return False
