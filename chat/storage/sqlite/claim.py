"""The claim of one process on a database: nobody else may write to it meanwhile.

Two writers would each believe that they alone give out positions. So there are two locks,
both held until the claim is closed:

- On the file itself, by whatever name it was opened: a byte of it is locked where SQLite
  locks none. It is an open file description lock (fcntl(2)): SQLite's own locks belong to
  the process, do not collide with it, and are lost when *any* descriptor of the file is
  closed (https://www.sqlite.org/howtocorrupt.html, 2.2). So the descriptor stays open for
  as long as SQLite has the file open here, and none is opened just for a look.
- On the file ``….lock`` beside it, by the name that links lead to: for who is about to make
  the database, and for systems without locks of the former kind (macOS), where a hard link
  is not noticed.
"""

import os
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from chat.storage.base import StoreUnusable
from hosting import private
from hosting.logs import get_logger

try:
    import fcntl
except ModuleNotFoundError:
    _HAS_LOCKS = False  # Windows
else:
    _HAS_LOCKS = True

log = get_logger(__name__)

# Behind the end of the largest database.
_BYTE: Final = 1 << 62
# struct flock: type, whence, start, length, process; aligned at its end.
_FLOCK: Final = struct.Struct("hhqqi0q")
_OPEN_FILES: Final = Path("/dev/fd")


class ClaimLost(Exception):
    """Another process has the place of the database; the text says so, for a person."""


class NameLock:
    """The lock beside a database.

    Args:
        path: the database, without symbolic links; its folder is there.

    Raises:
        BlockingIOError: another one holds it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._path = f"{path}.lock"
        self._descriptor = _lock_name(self._path)

    def check(self, *, make: bool) -> None:
        """Checks that every other process would meet this lock.

        Args:
            make: whether to make the file again if it was removed.

        Raises:
            ClaimLost: another process holds it.
            OSError: it cannot be made again.
        """
        if identity_of(self._path) == _of_open(self._descriptor):
            return
        if not make:
            if os.path.lexists(self._path):
                raise ClaimLost(self._lost())
            return
        try:
            descriptor = _lock_name(self._path)
        except BlockingIOError:
            raise ClaimLost(self._lost()) from None
        os.close(self._descriptor)
        self._descriptor = descriptor
        log.warning("the lock file was removed under a running server: made again", path=self._path)

    def close(self) -> None:
        """Releases it."""
        os.close(self._descriptor)

    def _lost(self) -> str:
        database = self._path.removesuffix(".lock")
        return (
            f"another process has taken {self._path}: the database {database} is not this"
            " server's any more"
        )


class Claim:
    """The claim on a database.

    Args:
        path: the database; its folders, and an empty file, are made if they are missing.

    Attributes:
        real: the path without symbolic links, by which SQLite has to open it.

    Raises:
        StoreUnusable: another process has it, or it may not be written to.
        OSError: it cannot be opened or made.
    """

    def __init__(self, path: str) -> None:
        if not _HAS_LOCKS:
            raise StoreUnusable(
                f"cannot open the database {path}: this system lacks the locks that keep others "
                "out of it; use Linux, macOS or WSL 2, or keep nothing by :memory:"
            )
        private.make_folder(Path(path).parent)
        self.real = os.path.realpath(path)
        with ExitStack() as undo:
            # The file first: a process that is refused by it does not touch the other lock.
            there = identity_of(self.real) is not None
            if there:
                self._descriptor = _lock_file(path, self.real)
                undo.callback(os.close, self._descriptor)
            try:
                self._name = NameLock(self.real)
            except BlockingIOError:
                raise taken(path) from None
            undo.callback(self._name.close)
            if not there:
                self._descriptor = _lock_file(path, self.real)
            undo.pop_all()

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the database that was claimed."""
        return _of_open(self._descriptor)

    def check(self, *, in_place: bool) -> None:
        """Checks that the claim still keeps others out.

        Args:
            in_place: whether the database is where it was. Else a place that others took
                is left to them.

        Raises:
            ClaimLost: another process has the place.
        """
        try:
            self._name.check(make=in_place)
        except OSError as error:
            # The other lock holds.
            log.debug("the lock file cannot be made again", reason=str(error))

    def close(self) -> None:
        """Releases it. SQLite must have closed the file."""
        os.close(self._descriptor)
        self._name.close()


def identity_of(path: str) -> tuple[int, int] | None:
    """Returns device and inode of a file, or `None` if there is none.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _of_open(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def taken(path: str) -> StoreUnusable:
    """Says that another process has a database."""
    return StoreUnusable(f"cannot open the database {path}: another server has it open")


def _lock_name(path: str) -> int:
    while True:
        descriptor = private.open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if identity_of(path) == _of_open(descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # removed between the two: nobody else would see it


def _lock_file(path: str, real: str) -> int:
    """Locks the file itself, which is made if it is not there; returns its descriptor."""
    if _is_claimed_here(real):
        raise taken(path)
    try:
        descriptor = private.open_file(real, os.O_RDWR | os.O_CREAT)
    except PermissionError:
        if not Path(real).is_file():
            raise
        raise StoreUnusable(
            f"cannot open the database {path}: the file may not be written to"
        ) from None
    try:
        if hasattr(fcntl, "F_OFD_SETLK"):
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK))
    except BlockingIOError:
        os.close(descriptor)
        raise taken(path) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_claimed_here(real: str) -> bool:
    """Whether this process has the file open, and a claim on it.

    To find that out by opening it would be too late: see the top of this file.
    """
    identity = identity_of(real)
    if identity is None or not hasattr(fcntl, "F_OFD_GETLK"):
        return False
    try:
        descriptors = [int(entry.name) for entry in _OPEN_FILES.iterdir()]
    except OSError:
        return False  # it is not mounted: nobody can tell
    return any(_is_open_as(each, identity) and _is_locked(each) for each in descriptors)


def _is_open_as(descriptor: int, identity: tuple[int, int]) -> bool:
    try:
        return _of_open(descriptor) == identity
    except OSError:
        return False  # closed by now


def _is_locked(descriptor: int) -> bool:
    """Whether another descriptor of the same file holds the claim; SQLite's do not."""
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK))
    except OSError:
        return False
    kind: int = _FLOCK.unpack(found)[0]
    return kind != fcntl.F_UNLCK


def _flock(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, _BYTE, 1, 0)
