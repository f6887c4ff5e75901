"""Reads sections, tables and code blocks of the project's Markdown."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)

_FENCE: Final = re.compile(r"```(.*)")
_HEADING: Final = re.compile(r"(#+) (.*)")
_CODE: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        info: the info string after the fence: ``json client``.
        text: the content.
    """

    info: str
    text: str


@dataclass
class Section:
    """A heading and its content, up to the next heading of any level.

    Attributes:
        level: the number of ``#`` in the heading; 0 before the first one.
        title: the heading.
        lines: the lines outside of blocks.
        blocks: the blocks, in order.
    """

    level: int
    title: str
    lines: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """GitHub's link anchor of the heading."""
        kept = re.sub(r"[^\w\- ]", "", self.title.lower())
        return kept.replace(" ", "-")

    def rows(self) -> Iterator[list[str]]:
        """The cells of each row of the section's tables, without the headings."""
        is_body = False
        for line in self.lines:
            if not line.startswith("|"):
                is_body = False
            elif re.fullmatch(r"[|:\- ]+", line):
                is_body = True
            elif is_body:
                cells = re.split(r"(?<!\\)\|", line.strip("|"))
                yield [cell.strip() for cell in cells]


def sections(page: Path) -> list[Section]:
    """Reads a page."""
    found = [Section(0, "")]
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if fence := _FENCE.fullmatch(line):
            found[-1].blocks.append(Block(fence[1], _body(lines)))
        elif heading := _HEADING.fullmatch(line):
            found.append(Section(len(heading[1]), heading[2]))
        else:
            found[-1].lines.append(line)
    return found


def _body(lines: Iterator[str]) -> str:
    body: list[str] = []
    for line in lines:
        if line == "```":
            return "\n".join(body)
        body.append(line)
    raise AssertionError("a block has no end")


def section(page: Path, title: str) -> Section:
    """Returns the one section of this title."""
    [found] = [each for each in sections(page) if each.title == title]
    return found


def blocks(page: Path, kind: str) -> list[Block]:
    """Returns the blocks of one language."""
    return [
        block
        for each in sections(page)
        for block in each.blocks
        if block.info.split(" ")[0] == kind
    ]


def code(text: str) -> list[str]:
    """Returns the texts in backquotes."""
    return _CODE.findall(text)


def page_name(page: object) -> str:
    """The test id of a page."""
    return page.relative_to(ROOT).as_posix() if isinstance(page, Path) else str(page)
