"""Tables and progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence


class Table:
    """A table of results.

    Args:
        title: what was measured.
        columns: the headings; the first column is text, the others are figures.
    """

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self.title = title
        self.columns = list(columns)
        self.rows: list[list[str]] = []

    def add(self, *cells: str) -> None:
        """Adds a row, a cell for each column."""
        if len(cells) != len(self.columns):
            raise ValueError(f"expected {len(self.columns)} cells, got {len(cells)}")
        self.rows.append(list(cells))

    def print(self) -> None:
        """Prints it as aligned Markdown."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        progress("")
        print(f"\n### {self.title}\n")
        print(_line(self.columns, widths))
        print(
            "|"
            + "|".join(["-" * (widths[0] + 2)] + ["-" * (w + 1) + ":" for w in widths[1:]])
            + "|"
        )
        for row in self.rows:
            print(_line(row, widths))


def progress(text: str) -> None:
    """Shows what is being done, on one line of standard error that is overwritten."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *rest]) + " |"
