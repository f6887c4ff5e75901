"""Ports for processes that must know them before their start, or keep them."""

import random
import socket
from typing import Final

# Below Linux's ephemeral ports: while a server is away, a client that looks for it must
# not get its port.
_PORTS: Final = range(20_000, 32_000)


def free_ports(number: int) -> list[int]:
    """Finds free ports.

    They lie outside the ephemeral range, so a restarted process finds its port free.
    """
    free: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not _bound(probe, port):
                continue
        free.append(port)
        if len(free) == number:
            return free
    raise AssertionError("no port is free")


def _bound(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def has_ipv6() -> bool:
    """Whether this machine has IPv6, on loopback at least."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
