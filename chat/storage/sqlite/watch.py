"""Whether the files are where they were, looked for by the writer thread now and then.

While they are not, nothing is confirmed, and what a commit has to tell that went to files which
nobody finds is withheld; once the files are back, it is announced. The watch also sets
the health of the store: while nobody sends, it tries a commit of its own.
"""

import time
from collections.abc import Callable
from typing import Final

import apsw

from chat.storage.base import StoreError
from chat.storage.health import State, StoreHealth
from chat.storage.sqlite.claim import ClaimLost
from chat.storage.sqlite.files import DatabaseFiles
from chat.storage.sqlite.journal import Commit
from hosting.logs import get_logger

log = get_logger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often the files are looked for, and a commit is tried while commits fail."""

# A commit that changes nothing, but is written and synced as any other.
_PROBE: Final = "UPDATE meta SET value = value WHERE key = 'epoch'"


class NotInPlace(StoreError):
    """The files are not where they were; the log says so already."""


class FileWatch:
    """Watches the files of a writer.

    Args:
        connection: the writer's.
        announce: tells what was withheld.
    """

    def __init__(
        self,
        files: DatabaseFiles,
        connection: apsw.Connection,
        health: StoreHealth,
        announce: Callable[[Commit], None],
    ) -> None:
        self._files = files
        self._connection = connection
        self._health = health
        self._announce = announce
        self._looked = time.monotonic()
        self._displaced = False
        # A commit that went to files which nobody finds.
        self._withheld: Commit | None = None

    def is_in_place(self) -> bool:
        """Returns whether anything may be written."""
        return not self._displaced and self._health.state is not State.FATAL

    def look_now_and_then(self) -> None:
        """Looks for the files, unless it did so just now."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._look()
            if self.is_in_place() and not self._health.is_serving:
                self._probe()

    def check(self, *, thoroughly: bool = False) -> None:
        """Checks before a commit that the files are in their place.

        Args:
            thoroughly: whether to look for them now: readers find what a commit changes
                before it is told.

        Raises:
            NotInPlace: they are not.
        """
        if self._displaced or (thoroughly and self._files.has_moved()):
            self._look()
        if not self.is_in_place():
            raise NotInPlace(self._health.reason)

    def confirm(self, commit: Commit) -> None:
        """Checks after a commit that what it stored is found after a restart.

        Args:
            commit: what it stored is announced once the files are back.

        Raises:
            NotInPlace: the files are not in their place.
        """
        if self._files.has_moved():
            self._look()
            if not self.is_in_place():
                self._withheld = commit
                raise NotInPlace(self._health.reason)

    def _look(self) -> None:
        """Looks for the files, and at the claim on them."""
        self._looked = time.monotonic()
        try:
            trouble = self._files.trouble()
        except ClaimLost as error:
            self._health.fail(f"{error}: nothing is stored any more")
            return
        if trouble:
            if not self._displaced:
                self._displaced = True
                self._rescue()
            self._health.refuse(trouble)
        elif self._displaced:
            self._displaced = False
            if self._withheld:
                self._announce(self._withheld)
            self._withheld = None

    def _rescue(self) -> None:
        try:
            self._files.rescue()
        except apsw.Error:
            log.exception("the log's content could not be moved into the database")

    def _probe(self) -> None:
        """Looks whether a commit succeeds, if nobody else makes one."""
        try:
            self._connection.execute(_PROBE)
        except apsw.Error as error:
            log.debug("commit failed", exc_info=error)
        else:
            self._health.serve()
