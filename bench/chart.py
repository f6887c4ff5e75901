"""Draws the comparison as an SVG for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

_WIDTH: Final = 880
_MARGIN: Final = 16
_LABEL: Final = 132
_BAR: Final = 15
_GAP: Final = 5
_VALUE: Final = 110
_COLUMN_GAP: Final = 24
_HEAD: Final = 76
_TITLE: Final = 26
_AFTER: Final = 16

# Tinted text and bars without a background, for both themes.
_STYLE: Final = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #3d444d }
  .title { font-size: 16px; font-weight: 600; fill: #1f2328 }
  .name { font-weight: 600; fill: #1f2328 }
  .soft { fill: #59636e }
  .project { fill: #2563eb } .node { fill: #5c8a3a } .grpcio { fill: #9a6700 }
  .broadcast { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9 } .title, .name { fill: #f0f6fc } .soft { fill: #9198a1 }
    .project { fill: #6ea0ff } .node { fill: #7fb35a } .grpcio { fill: #d4a72c }
    .broadcast { fill: #6e7681 }
  }
"""

Row = Mapping[str, Any]

# The two columns of a row, and of a row without senders.
_DRIVEN: Final = ("deliveries_per_second", "deliveries_per_cpu_second")
_SILENT: Final = ("kib_per_client",)


def draw(rows: Sequence[Row], caption: str) -> str:
    """Draws the rows of a comparison.

    Each workload has its own scale: compare only bars of the same workload.

    Args:
        rows: the rows of the results file.
        caption: the conditions of the measurement, in one line.
    """
    canvas = _Canvas()
    canvas.text(_MARGIN, 28, "Deliveries, and what they cost", "title")
    canvas.text(_MARGIN, 48, caption, "soft")
    left, right = _MARGIN + _LABEL, _second_column()
    canvas.text(left, 70, "deliveries a second", "soft")
    canvas.text(right, 70, "deliveries for a second of both servers' processor time", "soft")
    top = _HEAD
    for workload in dict.fromkeys(row["workload"] for row in rows):
        top = _draw_workload(canvas, [row for row in rows if row["workload"] == workload], top)
    return canvas.finish(top)


def _draw_workload(canvas: _Canvas, rows: Sequence[Row], top: int) -> int:
    silent = "kib_per_client" in rows[0]
    canvas.text(_MARGIN, top + 18, rows[0]["workload"], "name")
    what = rows[0]["description"] + (": memory for each, KiB (less is better)" if silent else "")
    canvas.text(_MARGIN + _LABEL, top + 18, what, "soft")
    top += _TITLE
    columns = zip(
        (_MARGIN + _LABEL, _second_column()), _SILENT if silent else _DRIVEN, strict=False
    )
    for left, key in columns:
        largest = max(row[key] for row in rows)
        for index, row in enumerate(rows):
            canvas.bar(left, top + index * (_BAR + _GAP), row, key, largest)
    for index, row in enumerate(rows):
        canvas.text(_MARGIN, top + index * (_BAR + _GAP) + 12, row["label"], "soft")
    return top + len(rows) * (_BAR + _GAP) + _AFTER


def _column_width() -> int:
    return (_WIDTH - 2 * _MARGIN - _LABEL - _COLUMN_GAP) // 2


def _second_column() -> int:
    return _MARGIN + _LABEL + _column_width() + _COLUMN_GAP


class _Canvas:
    def __init__(self) -> None:
        self._parts: list[str] = []

    def text(self, x: int, y: int, words: str, css: str) -> None:
        self._parts.append(f'<text x="{x}" y="{y}" class="{css}">{escape(words)}</text>')

    def bar(self, left: int, top: int, row: Row, key: str, largest: float) -> None:
        """A bar, its value, and its ratio to Node."""
        width = max(1, round((_column_width() - _VALUE) * row[key] / largest))
        self._parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{_BAR}" rx="2"'
            f' class="{escape(row["target"])}"/>'
        )
        value = f"{row[key]:,.0f}" if row[key] >= 100 else f"{row[key]:.1f}"
        ratio = row.get(f"{key}_ratio")
        if ratio is not None and row["target"] != "node":
            value += f" ({ratio:.2f} x)" if ratio < 10 else f" ({ratio:.0f} x)"
        self.text(left + width + 6, top + 12, value, "value")

    def finish(self, height: int) -> str:
        """Returns the whole file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
            f' width="{_WIDTH}" height="{height}" role="img">\n'
            "<title>Deliveries a second of this project and its peers</title>\n"
            f"<style>{_STYLE}</style>"
        )
        return "\n".join([head, *self._parts, "</svg>\n"])
