"""What of a page means nothing to SQLite, and may still hold a deleted text: no I/O.

SQLite moves and forgets; it seldom overwrites. A text that was deleted may stand in:

- a page of the free list, which holds what it held before;
- a page of a tree: between its cells, in blocks that are free, and between the list of cells
  and the first of them, where cells stood before the page was split;
- the last page of a long text (an *overflow* chain), behind the end of the text;
- a page of the free list's own list, behind the entries.

``PRAGMA secure_delete`` overwrites cells and pages as they are freed, but not what a split left
behind, and nothing that was freed before. ``VACUUM`` writes all of a database anew, twice, while
nothing is stored. To fill the slack of a page with zeros changes nothing that SQLite reads: the
page stays what it is, and may be cleaned by itself.

A page of a tree begins with its kind; an overflow page with the number of the next one, so with
0 or 1 while a database has less than `MOST_PAGES`. The two can be told apart, once it is known
which pages are free.

Source: https://www.sqlite.org/fileformat2.html, sections 1.3 to 1.6.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Self

HEADER_BYTES: Final = 100
MOST_PAGES: Final = 1 << 25
"""From so many pages on, 128 GiB, kinds of pages are no longer told apart."""

_INDEX_NODE, _TABLE_NODE, _INDEX_LEAF, _TABLE_LEAF = 2, 5, 10, 13
_NODES: Final = (_INDEX_NODE, _TABLE_NODE)
_TREES: Final = (_INDEX_NODE, _TABLE_NODE, _INDEX_LEAF, _TABLE_LEAF)
_PAGE: Final = struct.Struct(">BHHH")  # kind, first free block, number of cells, first cell
_PAIR: Final = struct.Struct(">HH")
_NUMBER: Final = struct.Struct(">I")
_NUMBERS: Final = struct.Struct(">II")
# The byte that SQLite locks; the page with it is never used.
_LOCKED: Final = 1 << 30


class Damaged(ValueError):
    """A page is not as SQLite would have written it; the text says which, and what is wrong."""


class Shape(NamedTuple):
    """What the header of a database says.

    Attributes:
        page_bytes: the size of a page.
        usable: how much of it SQLite uses.
        pages: how many there are.
        trunk: the first page of the list of free ones, or 0.
    """

    page_bytes: int
    usable: int
    pages: int
    trunk: int

    @classmethod
    def of(cls, header: bytes) -> Self:
        """Reads it.

        Args:
            header: the first `HEADER_BYTES` of a database.

        Raises:
            Damaged: it is another kind of file, or one with too many pages.
        """
        size = int.from_bytes(header[16:18], "big")
        pages, trunk = _NUMBERS.unpack_from(header, 28)
        if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[52:56], "big"):
            raise Damaged("the database is none, or one with auto_vacuum")
        if pages >= MOST_PAGES:
            raise Damaged(f"the database has {pages} pages, which are too many to be scrubbed")
        page_bytes = 65536 if size == 1 else size
        return cls(page_bytes, page_bytes - header[20], pages, trunk)

    @property
    def locked(self) -> int:
        """The page that is never used."""
        return _LOCKED // self.page_bytes + 1


class Chain(NamedTuple):
    """The rest of a long row, on pages of its own.

    Attributes:
        first: the first of them.
        size: how many bytes it has.
    """

    first: int
    size: int


class FreePages(NamedTuple):
    """The pages that are in no use.

    Attributes:
        trunks: those that list the others.
        leaves: the others.
    """

    trunks: frozenset[int]
    leaves: frozenset[int]

    @classmethod
    def of(cls, shape: Shape, read: Callable[[int], bytes]) -> Self:
        """Reads their list.

        Raises:
            Damaged: the list is none.
        """
        trunks: set[int] = set()
        leaves: set[int] = set()
        number = shape.trunk
        while number:
            if number in trunks or number > shape.pages:
                raise Damaged(f"page {number} is not in the list of free pages")
            trunks.add(number)
            page = read(number)
            number, count = _NUMBERS.unpack_from(page)
            if count > shape.usable // 4 - 2:
                raise Damaged(f"a list of {count} free pages does not fit into a page")
            leaves.update(struct.unpack_from(f">{count}I", page, 8))
        return cls(frozenset(trunks), frozenset(leaves))


def is_tree(page: bytes, number: int) -> bool:
    """Whether a page that is in use is one of a tree, and not of a chain."""
    return page[HEADER_BYTES if number == 1 else 0] in _TREES


def clean_trunk(page: bytes) -> bytes:
    """Returns a page of the free list's list without what is behind its entries."""
    end = 8 + 4 * _NUMBERS.unpack_from(page)[1]
    return page[:end] + bytes(len(page) - end)


def clean_tree(page: bytes, number: int, usable: int) -> tuple[bytes, list[Chain]]:
    """Returns a page of a tree without what is between its cells, and the chains of its cells.

    Raises:
        Damaged: its cells overlap.
    """
    start = HEADER_BYTES if number == 1 else 0
    kind, free, count, _ = _PAGE.unpack_from(page, start)
    list_at = start + (12 if kind in _NODES else 8)
    cleaned = bytearray(page)
    chains: list[Chain] = []
    end = list_at + 2 * count
    try:
        for at in sorted(struct.unpack_from(f">{count}H", page, list_at)):
            if at < end:
                raise Damaged("cells overlap")
            cleaned[end:at] = bytes(at - end)
            end = _end_of_cell(page, at, kind, usable, chains)
        cleaned[end:usable] = bytes(usable - end)
        for at in _free_blocks(page, free):
            cleaned[at : at + 4] = page[at : at + 4]
    except (IndexError, struct.error, ValueError) as error:
        raise Damaged(f"page {number}: {error}") from error
    return bytes(cleaned), chains


def tail_of(chain: Chain, usable: int, read_next: Callable[[int], int]) -> Chain:
    """Returns the last page of a chain, with how many bytes of the row are in it.

    Args:
        chain: the chain.
        usable: see `Shape`.
        read_next: returns the first number in a page.

    Raises:
        Damaged: the chain is shorter or longer than it has to be.
    """
    number, size = chain
    while number and size > usable - 4:
        number = read_next(number)
        size -= usable - 4
    if not number or read_next(number):
        raise Damaged(f"the chain from page {chain.first} on has another length than its row")
    return Chain(number, size)


def clean_tail(page: bytes, size: int) -> bytes:
    """Returns the last page of a chain without what is behind its row's bytes."""
    return page[: 4 + size] + bytes(len(page) - 4 - size)


def _free_blocks(page: bytes, at: int) -> Iterator[int]:
    """The free blocks of a page, of which SQLite needs the first four bytes."""
    while at:
        yield at
        following, size = _PAIR.unpack_from(page, at)
        if following and following < at + size:
            raise Damaged("free blocks overlap")
        at = following


def _end_of_cell(page: bytes, at: int, kind: int, usable: int, chains: list[Chain]) -> int:
    """Returns where a cell ends; adds the chain of its row, if it has one."""
    begin = at
    if kind in _NODES:
        at += 4
    size, at = _varint(page, at)
    if kind == _TABLE_NODE:
        return at  # the number was a key
    if kind == _TABLE_LEAF:
        _, at = _varint(page, at)
        most = usable - 35
    else:
        most = (usable - 12) * 64 // 255 - 23
    if size <= most:
        return max(at + size, begin + 4)
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)
    if local > most:
        local = least
    chains.append(Chain(_NUMBER.unpack_from(page, at + local)[0], size - local))
    return at + local + 4


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Returns a number of variable length, and where it ends."""
    value = page[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for nth in range(1, 8):
        byte = page[at + nth]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + nth + 1
    return value << 8 | page[at + 8], at + 9
