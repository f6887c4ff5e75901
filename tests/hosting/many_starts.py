"""Runs a command repeatedly in one process, each time with other settings.

Run as ``python many_starts.py MODULE``. Each line on standard input is a JSON array of the
environment and the arguments; for each, a line on standard output holds the status and the
output. The command must not begin to serve, whatever the settings. No name server is asked:
only "localhost" can be resolved.
"""

import io
import json
import os
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Any, Final

from hosting.command import run_command


def start(environment: dict[str, str], arguments: list[str]) -> tuple[object, str, str]:
    """Runs the command; returns its status, output and errors."""
    kept = dict(os.environ)
    os.environ.update(environment)
    # As strict as those of a process without a terminal.
    output, errors = io.StringIO(), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    status: object = None
    sys.argv[1:] = arguments
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            main = import_module(f"{MODULE}.__main__")
            run_command(main.command, f"python -m {MODULE}")
    except SystemExit as end:
        status = end.code
    finally:
        os.environ.clear()
        os.environ.update(kept)
    errors.seek(0)
    return status, output.getvalue(), errors.read()


MODULE = sys.argv[-1]
_LOOK_UP: Final = socket.getaddrinfo


def look_up(host: Any, port: Any, family: int, kind: int, protocol: int, flags: int) -> Any:
    """Resolves addresses; fails for names, as if none existed."""
    if host != "localhost":
        flags |= socket.AI_NUMERICHOST
    return _LOOK_UP(host, port, family, kind, protocol, flags)


if __name__ == "__main__":
    vars(socket)["getaddrinfo"] = look_up
    for line in sys.stdin:
        sys.stdout.write(json.dumps(start(*json.loads(line))) + "\n")
        sys.stdout.flush()
