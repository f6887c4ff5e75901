"""Why an address cannot be listened on, in words."""

from __future__ import annotations

import errno
import os
import socket


def reason(error: OSError) -> str:
    """Says for a person what kept a process from listening."""
    if isinstance(error, socket.gaierror):
        # Its numbers are not those of other errors.
        return error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return "another process is using this port"
    return os.strerror(error.errno) if error.errno else str(error)


def to_change(error: OSError) -> str:
    """Says which option keeps a process from listening: "host" or "port"."""
    is_of_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    return "host" if is_of_host else "port"
