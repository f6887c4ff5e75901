"""How far the writer thread may be ahead of the event loop: no I/O."""

from __future__ import annotations

import threading


class Lead:
    """The bytes of commits that the event loop has not heard of.

    An event loop that was held up hears of all of them in one turn, and the readers of a
    room get all that is theirs at once: more than may wait for a reader must not come
    together meanwhile.

    Args:
        limit: how many bytes they may be; a commit larger than that is alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._shorter = threading.Condition()

    def gain(self, size: int) -> None:
        """Waits until there is room for a commit: for the writer, before it makes it."""
        with self._shorter:
            while self._bytes and self._bytes + size > self._limit:
                self._shorter.wait()
            self._bytes += size

    def lose(self, size: int) -> None:
        """Forgets a commit: for the event loop, when it has heard of it."""
        with self._shorter:
            self._bytes -= size
            self._shorter.notify()
