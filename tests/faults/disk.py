"""A disk that remembers what SQLite asked of it, and can lose power at any moment.

`mounted` makes SQLite write through a `Disk`, which logs each operation. From the log
it builds the files as a power failure would leave them: what was synced is there;
of what was not, any part may be. The rules are those of a POSIX file system:

- A write, and a change of size, is on disk after a sync of that file. Until then it may
  be there, be missing or be torn. In which order a disk does its work shows only as
  which of it is done, so there is no other reordering.
- A file is made or deleted for good after a sync of its folder. SQLite does one with the
  first sync of a journal or write-ahead log. Until then the newest of these
  operations may be undone: file systems keep them in order.
- A part of a file that it was grown by, but that was never written, holds anything.

Real syncs are left out: they would only take time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LOGS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL
_UNUSED = Random(0)  # noqa: S311 - simulates


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written at an offset of a file."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A change of a file's size."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """A sync of a file; with `folder`, of the folder's names as well."""

    file: int
    folder: bool


@dataclass(frozen=True, slots=True)
class Link:
    """Binds a name to a new file, or with `None` unlinks it."""

    name: str
    file: int | None


Operation = Write | Truncate | Sync | Link


class Loss(Enum):
    """The part of the unsynced operations that a power failure loses."""

    NOTHING = auto()
    EVERYTHING = auto()
    LAST_IS_TORN = auto()
    SOME = auto()


class Disk:
    """The operations on the files of one folder.

    Args:
        files: the initial content of the folder, already synced.

    Attributes:
        log: the operations, in order.
        fault: the error that writes and syncs fail with from now on, or `None`.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.log: list[Operation] = []
        self.fault: type[apsw.Error] | None = None
        self._names: dict[str, int] = {}
        self._files = 0
        for name, data in files.items():
            file = self.link(name)
            self.log += [Write(file, 0, data), Sync(file, folder=True)]

    def killed(self, moment: int) -> Disk:
        """The disk as a process finds it after its predecessor was killed.

        All writes are there, though not synced.
        """
        disk = Disk({})
        disk.log = self.log[:moment]
        disk._names = _names(disk.log, Loss.NOTHING, _UNUSED)
        disk._files = self._files
        return disk

    @property
    def now(self) -> int:
        """The current moment: the number of operations so far."""
        return len(self.log)

    def link(self, name: str) -> int:
        """Creates a file unless the name exists; returns its number."""
        if name not in self._names:
            self._names[name] = self._files
            self._files += 1
            self.log.append(Link(name, self._names[name]))
        return self._names[name]

    def unlink(self, name: str) -> None:
        if self._names.pop(name, None) is not None:
            self.log.append(Link(name, None))

    def after_power_loss(
        self, moment: int, loss: Loss, random: Random = _UNUSED
    ) -> dict[str, bytes]:
        """The files as a power failure leaves them.

        Args:
            moment: number of operations that were done, or at least begun.
            loss: the kind of loss.
            random: decides what a partial loss or a torn write leaves open.
        """
        done = self.log[:moment]
        return {
            name: _content(done, file, loss, random)
            for name, file in _names(done, loss, random).items()
        }


class _File(apsw.VFSFile):
    """An open file of a `Disk`."""

    def __init__(self, vfs: Vfs, name: str | apsw.URIFilename, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._vfs = vfs
        self._disk = vfs.disk
        self._file = vfs.disk.link(Path(path).name)
        self._syncs_folder = bool(flags[0] & _LOGS)
        super().__init__("unix", name, flags)

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._vfs.let_the_loop_turn()
        self._raise_fault()
        self._disk.log.append(Write(self._file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._raise_fault()
        self._disk.log.append(Truncate(self._file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's
        self._raise_fault()
        self._disk.log.append(Sync(self._file, self._syncs_folder))
        self._syncs_folder = False

    def _raise_fault(self) -> None:
        if self._disk.fault is not None:
            raise self._disk.fault


class Vfs(apsw.VFS):
    """SQLite VFS whose files belong to a `Disk`.

    Attributes:
        disk: the disk.
        temporary_files: number of nameless files that were opened.
    """

    def __init__(self, disk: Disk, loop: asyncio.AbstractEventLoop | None) -> None:
        self.disk = disk
        self.temporary_files = 0
        self._loop = loop
        self._thread = threading.get_ident()
        super().__init__("disk", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is not None:
            return _File(self, name, flags)
        # A temporary file, which is never looked for after a power failure.
        self.temporary_files += 1
        return apsw.VFSFile("unix", None, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        self.disk.unlink(Path(filename).name)
        super().xDelete(filename, syncdir)

    def let_the_loop_turn(self) -> None:
        """Waits until all commits before this write have been announced.

        So a listener that notes the moment notes when the commit was done.
        """
        log, loop = self.disk.log, self._loop
        if loop and threading.get_ident() != self._thread and log and isinstance(log[-1], Sync):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()


@contextmanager
def mounted(disk: Disk, loop: asyncio.AbstractEventLoop | None = None) -> Iterator[Vfs]:
    """Makes SQLite use a disk for every file it opens.

    Args:
        disk: holds the same files as the folder in which a database is opened.
        loop: the event loop of this thread, if the moments of announcements matter.
    """
    vfs = Vfs(disk, loop)
    try:
        yield vfs
    finally:
        vfs.unregister()


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _names(done: list[Operation], loss: Loss, random: Random) -> dict[str, int]:
    """Returns the names, and the file of each."""
    safe = next((n for n in range(len(done), 0, -1) if _syncs_folder(done[n - 1])), 0)
    links = [operation for operation in done[:safe] if isinstance(operation, Link)]
    unsafe = [operation for operation in done[safe:] if isinstance(operation, Link)]
    if loss is Loss.SOME:
        unsafe = unsafe[: random.randint(0, len(unsafe))]
    elif loss is Loss.EVERYTHING:
        unsafe = []
    names = {link.name: link.file for link in links + unsafe}
    return {name: file for name, file in names.items() if file is not None}


def _syncs_folder(operation: Operation) -> bool:
    return isinstance(operation, Sync) and operation.folder


def _content(done: list[Operation], file: int, loss: Loss, random: Random) -> bytes:
    operations = [each for each in done if not isinstance(each, Link) and each.file == file]
    last = max((n for n, each in enumerate(operations, 1) if isinstance(each, Sync)), default=0)
    content = bytearray()
    for operation in operations[:last]:
        _apply(operation, content, bytes)
    junk = random.randbytes if loss is Loss.SOME and random.random() < 0.5 else bytes
    for nth, operation in enumerate(operations[last:], last + 1):
        is_newest = nth == len(operations) and operation is done[-1]
        left = _what_is_left(operation, loss, random, is_newest=is_newest)
        if left is not None:
            _apply(left, content, junk)
    return bytes(content)


def _what_is_left(
    operation: Operation, loss: Loss, random: Random, *, is_newest: bool
) -> Operation | None:
    if loss is Loss.EVERYTHING:
        return None
    torn = is_newest if loss is Loss.LAST_IS_TORN else random.random() < 0.2
    if loss is Loss.SOME and not torn and random.random() < 0.4:
        return None
    if torn and loss is not Loss.NOTHING and isinstance(operation, Write):
        return Write(
            operation.file,
            operation.offset,
            operation.data[: random.randrange(len(operation.data) or 1)],
        )
    return operation


def _apply(operation: Operation, content: bytearray, junk: Callable[[int], bytes]) -> None:
    if isinstance(operation, Write):
        gap = operation.offset - len(content)
        if gap > 0 and operation.data:
            content += junk(gap)
        content[operation.offset : operation.offset + len(operation.data)] = operation.data
    elif isinstance(operation, Truncate):
        del content[operation.size :]
        content += bytes(operation.size - len(content))
