"""One cleaning of all pages of a file, in steps: which of them still wait, and their bytes.

Between two steps others change pages. What is left behind in a page can get into another one by
a transaction that writes both, and in no other way: so if one of the pages that a transaction
wrote waits, all of them wait from then on. An overflow page is cleaned with the page that has
its row.
"""

import time
from collections.abc import Set as AbstractSet
from typing import Final

import apsw

from chat.storage.sqlite.slack import (
    HEADER_BYTES,
    FreePages,
    Shape,
    clean_tail,
    clean_tree,
    clean_trunk,
    is_tree,
    tail_of,
)

# How many pages are read at once.
_CHUNK: Final = 64
STEP_SECONDS: Final = 0.01
"""How long one step of a cleaning should take."""


class Cleaning:
    """The cleaning of a database. Its log has to be empty and its lock held at each call.

    Args:
        path: the database.

    Attributes:
        written: how many pages had to be written so far.

    Raises:
        apsw.Error: it cannot be opened.
        slack.Damaged: it is not as it has to be.
    """

    def __init__(self, path: str) -> None:
        # SQLite's own way to open it: to close a descriptor of another kind would give up the
        # locks of this process (https://www.sqlite.org/howtocorrupt.html, 2.2).
        flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE
        self._file = apsw.VFSFile("", path, [flags, 0])
        self._shape = Shape.of(self._file.xRead(HEADER_BYTES, 0))
        self._free = FreePages(frozenset(), frozenset())
        # Those from the one up to the other wait, and those that wait again.
        self._next, self._last = 1, self._shape.pages
        self._again: set[int] = set()
        self._rounds = 1
        self.written = 0

    def note(self, written: AbstractSet[int]) -> None:
        """Notes what others have written since the last step."""
        if any(self._next <= number <= self._last or number in self._again for number in written):
            self._again |= written

    def clean(self, seconds: float) -> bool:
        """Cleans pages that wait, until so much time has passed, or a little more.

        What waits again may come as fast as it is cleaned: from step to step there is more time
        for it, so that there is an end.

        Returns:
            Whether none waits any more, and all is on disk.

        Raises:
            apsw.Error: a page cannot be read or written.
            slack.Damaged: a page is not as it has to be.
        """
        if self._next > self._last:
            self._rounds += 1
        before = self.written
        done = self._clean_until(time.monotonic() + seconds * self._rounds)
        if self.written > before:
            # Each step waits for its own: the disk would be held up by all of them at the end.
            self._file.xSync(apsw.SQLITE_SYNC_FULL)
        return done

    def close(self) -> None:
        """Closes the file."""
        self._file.xClose()

    def _clean_until(self, end: float) -> bool:
        self._shape = Shape.of(self._file.xRead(HEADER_BYTES, 0))
        self._free = FreePages.of(self._shape, self._read)
        while self._again:
            number = self._again.pop()
            self._clean(number, self._read(number))
            if time.monotonic() > end:
                return False
        while self._next <= self._last:
            self._clean_chunk()
            if time.monotonic() > end:
                return False
        return True

    def _clean_chunk(self) -> None:
        size = self._shape.page_bytes
        first = self._next
        count = min(_CHUNK, self._last - first + 1)
        chunk = self._file.xRead(count * size, (first - 1) * size)
        for nth in range(count):
            self._clean(first + nth, chunk[nth * size : (nth + 1) * size])
        self._next += count

    def _clean(self, number: int, page: bytes) -> None:
        if number == self._shape.locked:
            return
        if number in self._free.leaves:
            self._replace(number, page, bytes(len(page)))
        elif number in self._free.trunks:
            self._replace(number, page, clean_trunk(page))
        elif is_tree(page, number):
            usable = self._shape.usable
            cleaned, chains = clean_tree(page, number, usable)
            self._replace(number, page, cleaned)
            for chain in chains:
                tail, used = tail_of(chain, usable, self._read_next)
                page = self._read(tail)
                self._replace(tail, page, clean_tail(page, used))

    def _replace(self, number: int, page: bytes, cleaned: bytes) -> None:
        if cleaned != page:
            self._file.xWrite(cleaned, (number - 1) * self._shape.page_bytes)
            self.written += 1

    def _read(self, number: int) -> bytes:
        size = self._shape.page_bytes
        return self._file.xRead(size, (number - 1) * size)

    def _read_next(self, number: int) -> int:
        return int.from_bytes(self._file.xRead(4, (number - 1) * self._shape.page_bytes), "big")
