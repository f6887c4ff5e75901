"""Runs a command again and again in one process, each time in another environment.

Run as ``python many_starts.py MODULE``. Each line on standard input is a JSON object, the
environment; for each, a line on standard output holds the status and what was printed.
Whatever the settings are, the command must not begin to serve.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module

from daemon.cli import run_command


def start(module: str, environment: dict[str, str]) -> tuple[object, str, str]:
    """Runs the command; returns its status, its output and its errors."""
    kept = dict(os.environ)
    os.environ.update(environment)
    # As strict as the ones of a process that are no terminal.
    output, errors = io.StringIO(), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    status: object = None
    sys.argv[1:] = []
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            main = import_module(f"{module}.__main__")
            run_command(main.command, f"python -m {module}")
    except SystemExit as end:
        status = end.code
    finally:
        os.environ.clear()
        os.environ.update(kept)
    errors.seek(0)
    return status, output.getvalue(), errors.read()


MODULE = sys.argv[-1]

if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(start(MODULE, json.loads(line))) + "\n")
        sys.stdout.flush()
