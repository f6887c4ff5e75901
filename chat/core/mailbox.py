"""A bounded queue of encoded messages for one stream."""

from collections import deque
from typing import Final

ITEM_BYTES: Final = 64
"""The memory of an item beside its bytes: short ones would take twice their size."""


class Mailbox:
    """Messages that wait to be written to one stream, counted in bytes of memory.

    A reader that falls behind by more than the limit overflows its mailbox:
    all items are dropped at once, so that the memory returns, and later ones
    are ignored. The owner of the stream then ends it.

    Args:
        limit: how many bytes may wait, at least 1, each item with `ITEM_BYTES` more.
            One item larger than that fits into an empty mailbox.
    """

    __slots__ = ("_items", "limit", "overflowed", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.overflowed = False
        self._items: deque[bytes] = deque()

    def put(self, item: bytes) -> None:
        """Adds an item at the end, or overflows."""
        if self.overflowed:
            return
        size = len(item) + ITEM_BYTES
        if self._items and self.size + size > self.limit:
            self._overflow()
            return
        self._items.append(item)
        self.size += size

    def take(self, at_most: int) -> list[bytes]:
        """Removes items from the front.

        Args:
            at_most: how many bytes, of the items alone; the first one is taken whatever
                its size.

        Returns:
            The items, oldest first; empty when nothing waits.
        """
        taken: list[bytes] = []
        size = 0
        while self._items and (not taken or size + len(self._items[0]) <= at_most):
            item = self._items.popleft()
            size += len(item)
            taken.append(item)
        self.size -= size + ITEM_BYTES * len(taken)
        return taken

    def _overflow(self) -> None:
        self.overflowed = True
        self._items.clear()
        self.size = 0
