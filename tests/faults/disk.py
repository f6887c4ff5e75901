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
    """Bytes, written at a place of a file."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A new size of a file."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """All of a file is on disk now; and with `folder`, so are the names of the files."""

    file: int
    folder: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A name belongs to a new file, or, with `None`, to none any more."""

    name: str
    file: int | None


Operation = Write | Truncate | Sync | Link


class Loss(Enum):
    """What a power failure takes of all that was not synced."""

    NOTHING = auto()
    EVERYTHING = auto()
    LAST_IS_TORN = auto()
    SOME = auto()


class Disk:
    """All that was done to the files of one folder.

    Args:
        files: what is in the folder, and on disk.

    Attributes:
        log: the operations, in order.
        fault: what writes and syncs fail with from now on, if they shall.
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
        """Returns the disk as a process finds it whose predecessor was killed.

        All that was written is there, though not on disk for that.
        """
        disk = Disk({})
        disk.log = self.log[:moment]
        disk._names = _names(disk.log, Loss.NOTHING, _UNUSED)
        disk._files = self._files
        return disk

    @property
    def now(self) -> int:
        """The moment: how many operations there were."""
        return len(self.log)

    def link(self, name: str) -> int:
        """Makes a file, unless there is one of that name; returns its number."""
        if name not in self._names:
            self._names[name] = self._files
            self._files += 1
            self.log.append(Link(name, self._names[name]))
        return self._names[name]

    def unlink(self, name: str) -> None:
        """Deletes a file."""
        if self._names.pop(name, None) is not None:
            self.log.append(Link(name, None))

    def after_power_loss(
        self, moment: int, loss: Loss, random: Random = _UNUSED
    ) -> dict[str, bytes]:
        """Returns the files as they are found after a power failure.

        Args:
            moment: how many of the operations were done, or at least begun.
            loss: what is lost.
            random: decides what a `loss` of some or a torn write leaves open.
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
    """Makes each file that SQLite opens one of a `Disk`.

    Attributes:
        disk: the disk.
        temporary_files: how many files without a name were opened beside.
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
        """Waits until all is announced that a commit before this write has brought.

        So a listener that notes the moment notes when the commit was done.
        """
        log, loop = self.disk.log, self._loop
        if loop and threading.get_ident() != self._thread and log and isinstance(log[-1], Sync):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()


@contextmanager
def mounted(disk: Disk, loop: asyncio.AbstractEventLoop | None = None) -> Iterator[Vfs]:
    """Lets SQLite write to a disk, whatever it opens.

    Args:
        disk: has the same files as the folder in which something is opened.
        loop: that of this thread, if the moments of announcements matter.
    """
    vfs = Vfs(disk, loop)
    try:
        yield vfs
    finally:
        vfs.unregister()


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a new folder."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _names(done: list[Operation], loss: Loss, random: Random) -> dict[str, int]:
    """Returns which names there are, and of which files."""
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
