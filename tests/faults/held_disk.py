"""A disk that a test can hold before a sync, or make read-only.

``python -m tests.faults.held_disk`` runs a chat server on it; its options are those of
``python -m chat``.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from chat.__main__ import command
from hosting.command import run_command

if TYPE_CHECKING:
    from typing_extensions import Buffer

MODULE: Final = "tests.faults.held_disk"
_GATE: Final = "gate"
_SEAL: Final = "seal"


class _File(apsw.VFSFile):
    """An open file below a gate's folder."""

    def __init__(self, name: str | apsw.URIFilename, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._gate = Path(path).with_name(_GATE)
        self._seal = Path(path).with_name(_SEAL)
        super().__init__("unix", name, flags)

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._seal.exists():
            raise apsw.ReadOnlyError
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        with self._gate.open("ab") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
        super().xSync(flags)


class _Vfs(apsw.VFS):
    """SQLite VFS whose named files are gated."""

    def __init__(self) -> None:
        super().__init__("held", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return apsw.VFSFile("unix", None, flags) if name is None else _File(name, flags)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds all syncs while the context is open.

    Args:
        folder: the folder of the server's database.
    """
    with (folder / _GATE).open("ab") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Makes all writes fail, as after an error of the file system.

    Args:
        folder: the folder of the server's database.
    """
    seal = folder / _SEAL
    seal.touch()
    try:
        yield
    finally:
        seal.unlink()


@contextmanager
def mounted() -> Iterator[None]:
    """Makes SQLite use such a disk for every file it opens."""
    vfs = _Vfs()
    try:
        yield
    finally:
        vfs.unregister()


if __name__ == "__main__":
    with mounted():
        run_command(command, "python -m chat")
