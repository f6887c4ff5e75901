"""The scrub: what was deleted or replaced goes from the disk, too, within a stated time.

Where texts are left behind is told in `slack`. To clean one page is simple; this module is about
when and how, beside commits, so that in the end surely no page has anything left of before:

- **Noted** (`note`) in the transaction that deletes or replaces something: a time in `meta`. While
  nothing is noted, nothing is done and nothing written. The note goes when a scrub has ended that
  began later, so one that was cut short is begun anew by whoever opens the file next.
- **First** what was in the journal at that moment is folded: it has texts, too.
- **In steps** of some milliseconds, with rests between them, by the writer thread. SQLite offers
  no way to write a page, so a step does it itself, while it is certain that nobody else does: the
  log was checkpointed and cut to nothing, so that all of the database is in its file, and its
  lock is held. What SQLite has of the file in memory is dropped behind it. As the slack alone
  changes, and any part of a write leaves a whole database, a crash in the middle is no harm; that
  a torn write spoils nothing beside it SQLite assumes as well (*powersafe overwrite*).
- **Nothing slips by.** Commits go on between steps, and may carry what is left behind from a page
  that waits to a page that was cleaned. All that they wrote is in the log by the next step. If
  some of it waited to be cleaned, all of it waits again; if not, it was clean and is clean.
  Pages that are freed meanwhile are overwritten by SQLite (``secure_delete``).
- **The log** is cut to nothing by each step. Readers of an old state, such as a backup, keep it
  from being cut: then the step waits for them.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import apsw

from chat.metrics import StoreMetrics
from chat.storage.sqlite.cleaning import STEP_SECONDS, Cleaning
from chat.storage.stamps import Clock
from hosting.logs import get_logger

log = get_logger(__name__)

SCRUB_SECONDS: Final = 3600.0
"""Within which time what was deleted is gone from the disk, if nothing else is said."""

# Of that time, what a scrub waits until it begins, and from when on it does not rest.
_BEGIN: Final = 0.5
_HURRY: Final = 0.75
# How much longer than a step the rest behind it is.
_REST: Final = 9.0
_LOOK_SECONDS: Final = 1.0
_LEAST_LOOK_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 60.0
# How long a step waits for readers: commits wait that long, too.
_BUSY_MILLISECONDS: Final = 50
_CHECKPOINT_PAGES: Final = 1000  # SQLite's default

_NOTE: Final = "INSERT INTO meta VALUES ('scrub_since', ?) ON CONFLICT (key) DO NOTHING"
_SINCE: Final = "SELECT min(CAST(value AS INTEGER)) FROM meta WHERE key LIKE 'scrub!_%' ESCAPE '!'"
_BEGUN: Final = """
INSERT INTO meta SELECT 'scrub_begun', min(CAST(value AS INTEGER)) FROM meta
WHERE key IN ('scrub_since', 'scrub_begun') HAVING count(*)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_TAKEN: Final = "DELETE FROM meta WHERE key = 'scrub_since'"
_DONE: Final = "DELETE FROM meta WHERE key = 'scrub_begun'"

_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24


class Foldable(Protocol):
    """What the scrub has to know of the journal."""

    generation: int

    def is_folded(self, generation: int) -> bool:
        """Whether all messages of a generation, and those before, are in the table."""


def note(connection: apsw.Connection, at: int) -> None:
    """Notes that something was deleted or replaced, in the transaction that does so.

    Args:
        connection: the writer's.
        at: the time, in microseconds since 1970.
    """
    connection.execute(_NOTE, (str(at),))


class Scrub:
    """Scrubs a database, by the writer thread and on its connection.

    Args:
        connection: from `schema.open_writer`.
        journal: on that connection.
        metrics: tells how long something has waited.
        seconds: how long after its deletion something is gone, if nothing holds that up.
        clock: the wall clock.
        step_seconds: how long a step cleans pages, roughly; commits wait that long.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        journal: Foldable,
        metrics: StoreMetrics,
        seconds: float = SCRUB_SECONDS,
        clock: Clock = time.time_ns,
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        self._connection = connection
        self._journal = journal
        self._metrics = metrics
        self._seconds = seconds
        self._look_seconds = min(_LOOK_SECONDS, max(_LEAST_LOOK_SECONDS, seconds))
        self._clock = clock
        self._step_seconds = step_seconds
        self._since: int | None = None
        self._next = 0.0
        self._began = 0.0
        self._failed = self._told = False
        # The generation of the journal that has to be folded first; `None` between scrubs.
        self._generation: int | None = None
        self._cleaning: Cleaning | None = None

    def wait_seconds(self) -> float:
        """Returns how long until `go_on` has something to do, perhaps."""
        return max(0.0, self._next - time.monotonic())

    def go_on(self, fold: Callable[[], bool]) -> None:
        """Does a step, if one is due; it takes some milliseconds.

        Args:
            fold: folds a slice of the journal, and returns whether it could.
        """
        if self.wait_seconds():
            return
        began = time.monotonic()
        try:
            self._step(fold)
        except Exception as error:  # noqa: BLE001 - whatever it is, the writer goes on
            # The note is still there: it is tried again.
            self._metrics.scrub_failures += 1
            level = log.debug if self._failed else log.error
            level("what was deleted is still on the disk: not scrubbed", exc_info=error)
            self._failed = True
            self._reset()
            self._next = time.monotonic() + min(_RETRY_SECONDS, max(self._seconds, _LOOK_SECONDS))
        else:
            now = time.monotonic()
            self._next = now + (
                self._look_seconds if self._generation is None else self._rest(now - began)
            )

    def finish(self) -> None:
        """Does all of it at once, for somebody whom nobody waits for; the journal is empty.

        Raises:
            Exception: it failed.
        """
        note(self._connection, self._clock() // 1000)
        while True:
            self._step(_nothing_to_fold)
            if self._since is None:
                return

    def close(self) -> None:
        """Lets go of the file; what is not done is done when it is opened again."""
        self._reset()

    def _step(self, fold: Callable[[], bool]) -> None:
        waited = self._waited()
        self._metrics.scrub_waiting_seconds = waited
        if self._generation is None:
            if self._since is not None and waited >= self._seconds * _BEGIN:
                self._begin()
        elif not self._journal.is_folded(self._generation):
            if not fold():
                raise RuntimeError("the journal was not folded")
        elif self._clean():
            self._end()
        elif waited > self._seconds and not self._told:
            self._told = True
            log.warning(
                "what was deleted is on the disk for longer than --scrub-seconds", seconds=waited
            )

    def _waited(self) -> float:
        """Looks for the note; returns how long it has been there, in seconds."""
        found = self._connection.execute(_SINCE).get
        self._since = found if isinstance(found, int) else None
        if self._since is None:
            return 0.0
        waited = self._clock() / 1e9 - self._since / 1e6
        # A clock that was set back would put it off for as long.
        return waited if waited >= 0 else self._seconds

    def _begin(self) -> None:
        with self._connection:
            self._connection.execute(_BEGUN)
            self._connection.execute(_TAKEN)
        self._began = time.monotonic()
        self._told = False
        self._generation = self._journal.generation

    def _clean(self) -> bool:
        """Cleans some pages; returns whether none is left."""
        connection = self._connection
        if self._cleaning is None:
            # From now on no log is begun anew before it was looked at.
            connection.wal_autocheckpoint(0)
            connection.pragma("secure_delete", True)
        if not self._lock():
            return False
        try:
            if Path(connection.filename_wal).stat().st_size:
                return False  # somebody else has written to it
            if self._cleaning is None:
                self._cleaning = Cleaning(connection.filename)
            return self._cleaning.clean(self._step_seconds)
        finally:
            connection.execute("ROLLBACK")
            # Else pages would be written again with what was in them.
            connection.release_memory()

    def _lock(self) -> bool:
        """Cuts the log to nothing and locks the database; not if somebody is in the way."""
        connection = self._connection
        patience = connection.pragma("busy_timeout")
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        try:
            frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if self._cleaning is not None:
                self._cleaning.note(_pages_in_log(connection.filename_wal, frames))
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            return False
        finally:
            connection.set_busy_timeout(patience)
        return True

    def _end(self) -> None:
        self._reset()
        self._connection.execute(_DONE)
        seconds = time.monotonic() - self._began
        self._metrics.scrub_seconds.observe(seconds)
        self._metrics.scrub_waiting_seconds = self._waited()
        self._failed = False
        log.debug("scrubbed: nothing that was deleted is on the disk", seconds=seconds)

    def _reset(self) -> None:
        self._generation = None
        if self._cleaning is not None:
            self._cleaning.close()
            self._cleaning = None
        with contextlib.suppress(apsw.ConnectionClosedError):
            self._connection.pragma("secure_delete", False)
            self._connection.wal_autocheckpoint(_CHECKPOINT_PAGES)

    def _rest(self, seconds: float) -> float:
        if self._waited() >= self._seconds * _HURRY:
            return 0.0
        return _REST * seconds


def _nothing_to_fold() -> bool:
    raise AssertionError("the journal is not empty")


def _pages_in_log(path: str, frames: int) -> set[int]:
    """Returns the pages of which a log has frames."""
    with Path(path).open("rb") as file:
        header = file.read(_LOG_HEADER)
        step = _FRAME_HEADER + int.from_bytes(header[8:12], "big")
        pages = set()
        for nth in range(frames):
            file.seek(_LOG_HEADER + nth * step)
            pages.add(int.from_bytes(file.read(4), "big"))
    return pages
