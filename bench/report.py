"""Prints tables and progress to a terminal."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self

# The interval of progress lines where a line cannot be overwritten, in seconds.
_LINE_SECONDS = 5.0
_last_line = 0.0


class Table:
    """A table of results.

    Args:
        title: the name of the benchmark.
        columns: the headings; the first `words` columns are text, the others figures.
        words: the number of text columns.
    """

    def __init__(self, title: str, columns: Sequence[str], words: int = 1) -> None:
        self.title = title
        self.columns = list(columns)
        self.rows: list[list[str]] = []
        self._words = words

    @classmethod
    def of(
        cls,
        title: str,
        columns: Iterable[tuple[str, str]],
        rows: Iterable[Mapping[str, Any]],
        words: int = 1,
    ) -> Self:
        """Makes a table of rows as they are saved.

        Args:
            title: the name of the benchmark.
            columns: each heading, with the format of its cells, such as ``{ratio:.2f}``.
            rows: figures by their names; the cell of one that a row does not have is empty.
            words: see `Table`.
        """
        headings, formats = zip(*columns, strict=True)
        table = cls(title, headings, words)
        for row in rows:
            table.add(*(_cell(each, row) for each in formats))
        return table

    def add(self, *cells: str) -> None:
        """Adds a row, a cell for each column."""
        if len(cells) != len(self.columns):
            raise ValueError(f"expected {len(self.columns)} cells, got {len(cells)}")
        self.rows.append(list(cells))

    def print(self) -> None:
        """Prints the table as aligned Markdown."""
        clear_progress()
        print(f"\n### {self.title}\n")
        print(self)

    def __str__(self) -> str:
        """The table as aligned Markdown, without the title."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rule = [
            "-" * (width + 2) if index < self._words else "-" * (width + 1) + ":"
            for index, width in enumerate(widths)
        ]
        lines = [self._line(self.columns, widths), f"|{'|'.join(rule)}|"]
        return "\n".join(lines + [self._line(row, widths) for row in self.rows])

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = (
            cell.ljust(width) if index < self._words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join(padded) + " |"


def _cell(form: str, row: Mapping[str, Any]) -> str:
    try:
        return form.format_map(row)
    except KeyError:
        return ""


Measured = tuple[Table, Sequence[Mapping[str, Any]]]
"""A part of a benchmark: its table for people, and its rows for programs."""


@dataclass(frozen=True, slots=True)
class Section:
    """The results of one benchmark.

    Attributes:
        tables: the tables for people.
        data: the same and more for programs, as JSON values.
        notes: sentences to print below the tables.
    """

    tables: Sequence[Table]
    data: Mapping[str, object]
    notes: Sequence[str] = field(default=())

    def print(self) -> None:
        """Prints the tables and the notes."""
        for table in self.tables:
            table.print()
        for note in self.notes:
            print(f"\n{note}")


def ratio(values: Sequence[float], bases: Sequence[float]) -> float:
    """Returns the median over the rounds of the ratio to a base in the same round."""
    return median(value / base for value, base in zip(values, bases, strict=True))


def progress(text: str) -> None:
    """Shows progress on standard error.

    On a terminal one line is overwritten; elsewhere, lines are printed occasionally.
    """
    global _last_line
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif time.monotonic() - _last_line >= _LINE_SECONDS:
        _last_line = time.monotonic()
        print(text, file=sys.stderr, flush=True)


def clear_progress() -> None:
    """Clears the line of `progress`."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
