"""Temporary folders in which servers run, and which leave nothing behind.

A server that was started by a killed test would run on for ever. So each folder has a
guard, a process that waits at a pipe for the end of the tests, then kills what runs in
the folder, and removes it. What runs in it: every process whose working directory it
holds, as servers change to the directory of their data. That finds workers too, also
when the process that started them is dead.

The folder is not inside of pytest's: a server that does not run as root could not get
there, and its path would be too long for a socket.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from tests.kit import PATIENCE_SECONDS

_ROOT: Final = Path(__file__).parents[2]
_POLL_SECONDS: Final = 0.01


@contextmanager
def home(name: str, owner: str | None = None) -> Iterator[Path]:
    """Makes a folder; at the end, kills what runs in it and removes it.

    Args:
        name: beginning of its name.
        owner: the user that it is for, if it is another one.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    if owner is not None:
        shutil.chown(folder, owner)
    # A session of its own: Ctrl-C is for the tests, whose end it then notices.
    guard = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-m", __name__, folder],
        cwd=_ROOT, stdin=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield folder
    finally:
        guard.communicate()
        assert guard.returncode == 0


def inhabitants(folder: Path) -> list[psutil.Process]:
    """Processes that run in a folder, those first that started others."""
    found = []
    for process in psutil.process_iter():
        # It ended just now, or belongs to somebody else.
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def kill(folder: Path, number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to all processes of a folder; waits for their end if it kills them."""
    told: set[int] = set()
    end = time.monotonic() + PATIENCE_SECONDS
    # They may start others meanwhile.
    while present := inhabitants(folder):
        new = [each for each in present if each.pid not in told]
        for process in new:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
            told.add(process.pid)
        if number is not signal.SIGKILL and not new:
            return
        assert time.monotonic() < end
        time.sleep(_POLL_SECONDS)


def remove(folder: Path) -> None:
    """Removes a folder in which nothing runs."""
    # A PostgreSQL that was killed leaves a System V segment behind, which the file names.
    for file in folder.rglob("postmaster.pid"):
        # Of seven lines or more, unless it was killed as it started.
        for line in file.read_text().splitlines()[6:7]:
            subprocess.run(  # noqa: S603
                ["ipcrm", "-m", line.split()[-1]],  # noqa: S607
                check=False,
                stderr=subprocess.DEVNULL,
            )
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.stdin.read()
    kill(Path(sys.argv[1]))
    remove(Path(sys.argv[1]))
