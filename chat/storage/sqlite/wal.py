"""Whether a write-ahead log was damaged, which SQLite does not tell from a power failure.

SQLite takes a log up to the first frame whose checksum is wrong, and drops the rest
without a word. After a power failure that is right: only the frames of the last commit
can be torn, for each commit was on disk before the next one began. Where more than one
commit lies behind the break, or is broken itself, bytes were damaged later, and what was
confirmed would be lost.

A log that begins with a damaged header is not told from one that was about to be begun
anew, nor damage in the last commit from a torn write.

Source: https://www.sqlite.org/fileformat2.html, section 4, "The Write-Ahead Log".
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
# The checksums are made of words of this machine's order, or of another's.
_WORDS: Final = {0x377F0682: "<", 0x377F0683: ">"}
_CHECKED: Final = 8  # bytes of a frame's header that its checksum covers

_Sums = tuple[int, int]


class _Frame(NamedTuple):
    """One frame.

    Attributes:
        follows: whether its checksum continues that of the frame before, as it stands there.
        commits: whether it ends a commit.
        known: whether it belongs to this log, and not to what was in the file before.
    """

    follows: bool
    commits: bool
    known: bool


def is_damaged(path: str) -> bool:
    """Whether a database's log has more behind a broken frame than a power failure leaves.

    Args:
        path: the database; it may have no log.

    Raises:
        OSError: the log cannot be read.
    """
    log = Path(f"{path}-wal")
    if not log.exists():
        return False
    frames = _frames(log.read_bytes())
    broken = next((frame for frame in frames if not (frame.follows and frame.known)), None)
    if broken is None:
        return False
    commits = int(broken.known and broken.commits)
    for frame in frames:
        if not frame.follows:
            # Left by an earlier commit that failed: another beginning, not a rest.
            commits = 0
        commits += frame.known and frame.commits
        if commits > 1:
            return True
    return False


def _frames(log: bytes) -> Iterator[_Frame]:
    """Reads the frames of a log, each checked beside the one before; none if it has no header."""
    if len(log) < _HEADER.size:
        return
    magic, _, page_bytes, _, *salts, first, second = _HEADER.unpack_from(log)
    order = _WORDS.get(magic)
    if order is None or _checksum(order, log[: _HEADER.size - 8], (0, 0)) != (first, second):
        return
    sums = first, second
    size = _FRAME.size + page_bytes
    for at in range(_HEADER.size, len(log) - size + 1, size):
        _, pages, *frame_salts, first, second = _FRAME.unpack_from(log, at)
        covered = log[at : at + _CHECKED] + log[at + _FRAME.size : at + size]
        follows = _checksum(order, covered, sums) == (first, second)
        yield _Frame(follows, pages > 0, frame_salts == salts)
        sums = first, second


def _checksum(order: str, data: bytes, sums: _Sums) -> _Sums:
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word, another in zip(words, words, strict=True):
        first = (first + word + second) & 0xFFFF_FFFF
        second = (second + another + first) & 0xFFFF_FFFF
    return first, second
