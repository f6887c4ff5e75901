"""The page as it is in its folder: prepared at the start, and anew once a file has changed."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from hosting.logs import get_logger
from proxy.page.modules import UnusablePage
from proxy.page.prepared import Part, PreparedPage, prepare

log = get_logger(__name__)

STATIC: Final = Path(__file__).parents[1] / "static"
"""The folder of the project's own page."""

# Path, size and time of change of each file.
_State = tuple[tuple[str, int, int], ...]


class PageSource:
    """The page in a folder.

    Attributes:
        page: the page, as it was prepared last.

    Raises:
        proxy.page.modules.UnusablePage: the page cannot be prepared.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        self._folder = folder
        self._state = _state(folder)
        self.page = _prepared(folder, self._state)
        # A browser may have its document, and ask for its parts next.
        self._before: PreparedPage | None = None

    def refresh(self) -> None:
        """Prepares the page anew if a file of it has changed.

        If that fails, the page stays as it was, and the log says why.
        """
        try:
            state = _state(self._folder)
            if state == self._state:
                return
            self._state = state
            page = _prepared(self._folder, state)
        except (UnusablePage, OSError) as error:
            # Its text says it all: what is unusable is a file, and it is named.
            log.error("page cannot be prepared: it stays as it was", error=str(error))  # noqa: TRY400
            return
        if page is not self.page:
            self._before, self.page = self.page, page

    def part(self, address: str) -> Part | None:
        """The part with an address of its own, of this page or of the one before."""
        before = self._before.parts.get(address) if self._before else None
        return self.page.parts.get(address, before)

    def file(self, name: str) -> Path | None:
        """A file as it was written, by its path in the folder.

        By the names that there are, so that no other name reaches the file system.
        """
        known = any(name == each for each, _, _ in self._state)
        return self._folder / name if known else None


# A process that runs several proxies, as tests do, prepares the page once.
@lru_cache(maxsize=2)
def _prepared(folder: Path, state: _State) -> PreparedPage:
    return prepare({name: (folder / name).read_bytes() for name, _, _ in state})


def _state(folder: Path) -> _State:
    return tuple(sorted(_files(folder, "")))


def _files(folder: Path, below: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):  # what editors leave
                continue
            if entry.is_dir():
                yield from _files(folder / entry.name, f"{below}{entry.name}/")
            else:
                status = entry.stat()
                yield f"{below}{entry.name}", status.st_size, status.st_mtime_ns
