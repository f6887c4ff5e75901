"""Ports for what has to know its own before it is started, or is started again."""

from __future__ import annotations

import random
import socket
from typing import Final

# Below what Linux gives to outgoing connections: while a server is away, none of those
# who look for it may be given its port.
_PORTS: Final = range(20_000, 32_000)


def free_ports(number: int) -> list[int]:
    """Finds ports that nobody listens on.

    The system gives none of them to who asks for any: what is stopped finds its port
    again when it is started anew.
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
