"""Whether the files of an open database are still where they were opened.

SQLite goes on writing to files that were deleted or replaced, and nobody finds the
messages it confirms after a restart.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from chat.storage.sqlite.claim import Claim, identity_of

_HELP: Final = (
    "nothing is stored until it is back; else stop the server, put the files back or restore"
    " a backup, and start it again"
)


class DatabaseFiles:
    """The files of a database: itself, its log, and the index of that.

    Args:
        path: the database as it was named, perhaps by a symbolic link.
        claim: on it.
        connection: has it open, and its log.
    """

    def __init__(self, path: str, claim: Claim, connection: apsw.Connection) -> None:
        self._claim = claim
        self._connection = connection
        self._log = f"{claim.real}-wal"
        # Absolute, for the working directory may change.
        self._known: dict[str, tuple[int, int] | None] = {
            str(Path(path).absolute()): claim.identity,
            claim.real: claim.identity,
        }
        for name in (self._log, f"{claim.real}-shm"):
            self._known[name] = identity_of(name)

    def has_moved(self) -> bool:
        """Whether the database itself is not where it was.

        For each commit: unlike `os.stat` it does not give the interpreter's lock up, which
        would be to wait for a busy event loop.
        """
        answer = ctypes.c_int()
        self._connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(answer))
        return bool(answer.value)

    def trouble(self) -> str:
        """Looks at all of the files and at the claim.

        Returns:
            The trouble and the remedy, for the log; empty if all is well.

        Raises:
            ClaimLost: another process has their place.
        """
        found = "; ".join(self._changes())
        self._claim.check(in_place=not found)
        return f"{found}: {_HELP}" if found else ""

    def rescue(self) -> None:
        """Moves the content of a deleted log into the database.

        Raises:
            apsw.Error: it could not.
        """
        if identity_of(self._log) is None and not self.has_moved():
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)

    def _changes(self) -> Iterator[str]:
        for name, known in self._known.items():
            try:
                identity = identity_of(name)
            except OSError as error:
                yield f"{name} cannot be looked at ({error.strerror})"
            else:
                if identity is None:
                    yield f"{name} was deleted or moved away"
                elif identity != known:
                    yield f"{name} was replaced by another file"
