"""Ports for processes that must know them before their start, or keep them.

What is free now may be another one's before the process listens, or while it is restarted. So a
port is taken by a lock, on the byte of a file that has its number, until the tests end: no other
process of the tests is given it.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

# Below Linux's ephemeral ports: while a server is away, a client that looks for it must
# not get its port.
_PORTS: Final = range(20_000, 32_000)


def free_ports(number: int, among: Sequence[int] = _PORTS) -> list[int]:
    """Finds free ports, for this process alone.

    They lie outside the ephemeral range, so a restarted process finds its port free.
    """
    free: list[int] = []
    for port in random.SystemRandom().sample(among, len(among)):
        if not _taken_here(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not _bound(probe, port):
                continue
        free.append(port)
        if len(free) == number:
            return free
    raise AssertionError("no port is free")


@cache
def _locks() -> tuple[int, set[int]]:
    """The file, and the ports that this process has taken: its own locks do not stop it."""
    path = Path(tempfile.gettempdir()) / f"chat-tests-{os.geteuid()}.ports"
    # Closing it would release them, also if it were opened once more (fcntl(2)).
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), set()


def _taken_here(port: int) -> bool:
    file, taken = _locks()
    if port in taken:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    taken.add(port)
    return True


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
