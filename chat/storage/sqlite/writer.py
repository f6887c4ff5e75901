"""The writer thread: group commit on the only connection that writes.

How it works. There is one thread, one queue and one connection::

    event loop                        writer thread
    ----------                        -------------
    put(job) ----> queue ---------->  take what is queued, up to 256 KiB
                                      wait until the loop has heard of enough (Backlog)
                                      journal.store: one commit, one flush of the disk
    stored, done, futures  <--------  call_soon_threadsafe
    folded                 <--------  journal.fold: a slice, while nothing is queued

- All that was queued while one commit ran goes into the next. So a commit costs one flush,
  however many messages are in it, and nobody waits for a timer.
- Messages are announced (`stored`) before their futures end, in the order of `seq`; behind
  them (`told`) what else a commit has done (see `commits`).
- The event loop may be held up, and hear of many commits in one turn. The thread waits when
  it is too far ahead, so that they fit into the mailbox of a reader.
- What was committed is moved to its place in the table (see `journal`) when nothing else is
  to be done: at once if it is enough, and however little it is when nothing has come for
  a while.
- A commit that fails for a value in it is made again in parts (see `salvage`). One that
  fails otherwise fails all its jobs, and the health of the store says so until one succeeds.
- What was deleted is scrubbed from the file, in steps between commits (see `scrub`).
- Where the files are not in their place any more (see `watch`), nothing is confirmed.
- Whatever else goes wrong, each job ends with an error: nobody waits for ever.
"""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import apsw

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError, Unstorable
from chat.storage.health import StoreHealth
from chat.storage.results import finish
from chat.storage.sqlite.asks import NOTHING_TOLD, Answer, Ask, Told
from chat.storage.sqlite.commits import Commits
from chat.storage.sqlite.files import DatabaseFiles
from chat.storage.sqlite.fold import HistoryConflict
from chat.storage.sqlite.jobs import (
    Append,
    Asking,
    Backlog,
    Changing,
    Job,
    Settle,
    Upsert,
    answer,
    end,
    fail,
)
from chat.storage.sqlite.journal import Commit, Journal, UserRow
from chat.storage.sqlite.salvage import Item, Outcome, Salvage, is_of_a_value
from chat.storage.sqlite.scrub import Scrub
from chat.storage.sqlite.watch import LOOK_SECONDS, FileWatch, NotInPlace
from gen.chat import ChatMessage
from hosting.logs import get_logger

log = get_logger(__name__)

# How many bytes one commit takes, if it is not a single job: a bound on its time, and
# on what the readers of one room are brought at once.
_COMMIT_BYTES: Final = 256 * 1024
# How much of that the event loop may not have heard of; less than may wait for a reader.
_AHEAD_BYTES: Final = 3 * _COMMIT_BYTES
IDLE_SECONDS: Final = 5.0
"""After how long without a job all that is in the journal is folded."""
_COMMITS_FAIL: Final = (
    'commits fail: look for "commit failed" in the log; a full disk is the usual reason'
)


Made = Sequence[ChatMessage | Exception]
"""What became of changes."""


@dataclass(frozen=True, slots=True)
class WriterCallbacks:
    """What is called in the event loop as the writer goes on.

    Attributes:
        on_stored: messages were stored, in this generation of the journal. In each room
            they come in the order of `seq`.
        on_told: what else a commit has to tell; called behind `on_stored` of the same commit.
        on_folded: all generations before this one are in the table.
        on_done: jobs of so many bytes were done or failed; their futures end behind this
            call.
    """

    on_stored: Callable[[int, Sequence[ChatMessage]], None]
    on_told: Callable[[Told], None]
    on_folded: Callable[[int], None]
    on_done: Callable[[int], None]


class Writer:
    """The thread, its queue and its connection.

    Args:
        connection: from `schema.open_writer`; the thread closes it.
        journal: on that connection.
        health: is set by this thread alone.
        scrub: on that connection.
        idle_seconds: after how long without a job all that is in the journal is folded;
            `None` for never.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        journal: Journal,
        files: DatabaseFiles,
        callbacks: WriterCallbacks,
        metrics: StoreMetrics,
        health: StoreHealth,
        scrub: Scrub,
        idle_seconds: float | None = IDLE_SECONDS,
    ) -> None:
        self._metrics = metrics
        self._scrub = scrub
        self._health = health
        self._connection = connection
        self._journal = journal
        self._watch = FileWatch(files, connection, health, self._announce)
        self._commits = Commits(connection, journal, partial(self._watch.check, thoroughly=True))
        # Those who have come, and were told nothing yet.
        self._owed: list[Job] = []
        self._callbacks = callbacks
        self._idle_seconds = math.inf if idle_seconds is None else idle_seconds
        self._idle_since = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._backlog = Backlog(_AHEAD_BYTES)
        self._fold_failed = False
        # Until there is more to fold.
        self._fold_gave_up = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer")
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queues a job; its future ends with its result, or with `StoreError`."""
        self._queue.put(job)

    async def close(self) -> None:
        """Does what is queued, then closes the connection."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            while (jobs := self._next_jobs()) is not None:
                self._work_safely(jobs)
            while not self._journal.is_empty() and self._fold():
                pass
        finally:
            self._scrub.close()
            self._connection.close()

    def _work_safely(self, jobs: list[Job]) -> None:
        """Does jobs, and what is due beside them; a thread that ends would leave all waiting."""
        self._owed = jobs
        try:
            self._work(jobs)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            failure = StoreError(f"the writer failed: {error!r}")
            if owed := self._owed:
                self._tell(self._fail, owed, sum(job.size for job in owed), failure)
            # What it has left half done is not known.
            self._health.fail(f"{failure}; nothing is stored any more: start the server again")

    def _work(self, jobs: list[Job]) -> None:
        self._watch.look_now_and_then()
        if jobs:
            self._commit(jobs)
            self._idle_since, self._fold_gave_up = time.monotonic(), False
            for job in jobs:
                if isinstance(job, Settle):
                    self._settle(job)
        while self._is_due() and self._fold():
            pass
        if self._watch.is_in_place():
            self._scrub.go_on(self._fold)

    def _is_due(self) -> bool:
        """Whether a slice should be folded: of anything, when nothing has come for a while."""
        if not self._queue.empty():
            return self._journal.is_due(idle=False)
        return self._journal.is_due(idle=True) or (
            self._awaits_idle_fold() and time.monotonic() - self._idle_since >= self._idle_seconds
        )

    def _awaits_idle_fold(self) -> bool:
        return not self._fold_gave_up and not self._journal.is_empty()

    def _wait_seconds(self) -> float:
        wait = min(LOOK_SECONDS, self._scrub.wait_seconds())
        return min(wait, self._idle_seconds) if self._awaits_idle_fold() else wait

    def _next_jobs(self) -> list[Job] | None:
        """Waits for jobs, though not for long: none may come; `None` after the last ones."""
        try:
            job = self._queue.get(timeout=self._wait_seconds())
        except queue.Empty:
            return []
        if job is None:
            return None
        jobs: list[Job] = []
        size = 0
        while job is not None:
            jobs.append(job)
            size += job.size
            if size >= _COMMIT_BYTES:
                return jobs
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs
        self._queue.put(None)  # the sentinel came behind them: leave it for the next round
        return jobs

    def _commit(self, jobs: list[Job]) -> None:
        appends = [job.messages for job in jobs if isinstance(job, Append)]
        users: list[UserRow] = []
        asks: list[Ask] = []
        if len(appends) < len(jobs):
            users = [job.user for job in jobs if isinstance(job, Upsert)]
            for job in jobs:
                asks += _asks(job)
        has_extras = True in [job.has_extras for job in jobs]
        size = sum(job.size for job in jobs)
        self._backlog.add(size)
        try:
            commit = self._store(appends, users, asks, has_extras=has_extras)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, those who wait learn of it
            if is_of_a_value(error):
                self._tell(self._finish_each, jobs, size, self._salvage(jobs, error))
            else:
                self._tell(self._fail, jobs, size, StoreError(str(error)))
        else:
            self._tell(self._finish, jobs, size, commit, self._journal.generation)
        self._owed = []

    def _store(
        self,
        appends: Sequence[Sequence[ChatMessage]],
        users: Sequence[UserRow],
        asks: Sequence[Ask],
        *,
        has_extras: bool,
    ) -> Commit:
        """Stores all of it, or nothing; notes what that says about the store."""
        began = time.perf_counter()
        try:
            self._watch.check()
            commit = self._commits.store(appends, users, asks, has_extras=has_extras)
            self._watch.confirm(commit)
        except HistoryConflict as conflict:
            self._metrics.failures += 1
            self._health.fail(str(conflict))
            raise
        except Exception as error:
            if not is_of_a_value(error):
                self._note_failure(error)
            raise
        if commit.has_written:
            self._health.serve()
        self._metrics.committed(time.perf_counter() - began, sum(map(len, commit.stored)))
        return commit

    def _salvage(self, jobs: Sequence[Job], error: Exception) -> list[Outcome]:
        """Stores what can be of a commit that failed for something in it."""
        items: list[Item] = []
        for job in jobs:
            items += _items(job)
        outcomes = Salvage(self._store_and_tell).apart(items, error)
        unstorable = sum(isinstance(outcome, Unstorable) for outcome in outcomes)
        log.error("commit made without what cannot be stored", number=unstorable, exc_info=error)
        return outcomes

    def _store_and_tell(
        self,
        appends: Sequence[Sequence[ChatMessage]],
        users: Sequence[UserRow],
        asks: Sequence[Ask],
    ) -> Commit:
        commit = self._store(appends, users, asks, has_extras=True)
        self._announce(commit)
        return commit

    def _settle(self, job: Settle) -> None:
        while not self._journal.is_empty():
            if not self._fold():
                self._tell(fail, job.future, StoreError("the journal could not be folded"))
                return
        self._tell(end, job.future, None)

    def _fold(self) -> bool:
        """Folds a slice; returns whether it could."""
        if not self._watch.is_in_place():
            return False
        try:
            if self._journal.fold():
                self._tell(self._callbacks.on_folded, self._journal.generation)
        except HistoryConflict as conflict:
            self._health.fail(str(conflict))
            return False
        except Exception:
            # What is in the journal is safe there, and folded when it can be.
            if not self._fold_failed:
                log.exception("journal not folded")
            self._fold_failed = self._fold_gave_up = True
            return False
        self._fold_failed = False
        return True

    def _note_failure(self, error: Exception) -> None:
        """A commit failed, as the next ones may: that is logged once."""
        self._metrics.failures += 1
        if not isinstance(error, NotInPlace):
            level = log.error if self._health.is_serving else log.debug
            level("commit failed", exc_info=error)
            self._health.refuse(_COMMITS_FAIL)

    def _announce(self, commit: Commit) -> None:
        self._tell(self._hear, self._journal.generation, commit)

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        self._loop.call_soon_threadsafe(callback, *args)

    def _hear(self, generation: int, commit: Commit) -> None:
        """In the event loop: tells what a commit has stored."""
        if commit.fresh:
            self._callbacks.on_stored(generation, commit.fresh)
        if commit.told is not NOTHING_TOLD:
            self._callbacks.on_told(commit.told)

    def _finish(self, jobs: list[Job], size: int, commit: Commit, generation: int) -> None:
        self._backlog.remove(size)
        self._hear(generation, commit)
        self._callbacks.on_done(size)
        stored, answers = iter(commit.stored), iter(commit.answers)
        for job in jobs:
            if isinstance(job, Append):
                end(job.future, next(stored))
            elif isinstance(job, Changing):
                end(job.future, cast("Made", [next(answers) for _ in job.changes]))
            elif isinstance(job, Asking):
                answer(job.future, next(answers))
            elif isinstance(job, Upsert):
                end(job.future, None)

    def _finish_each(self, jobs: list[Job], size: int, outcomes: Sequence[Outcome]) -> None:
        self._backlog.remove(size)
        self._callbacks.on_done(size)
        rest = iter(outcomes)
        for job in jobs:
            if isinstance(job, Append):
                finish(
                    job.future,
                    cast("list[ChatMessage | StoreError]", [next(rest) for _ in job.messages]),
                )
            elif isinstance(job, Changing):
                end(job.future, cast("Made", [next(rest) for _ in job.changes]))
            elif isinstance(job, Asking):
                answer(job.future, cast("Answer | StoreError", next(rest)))
            elif isinstance(job, Settle):
                continue
            elif isinstance(outcome := next(rest), StoreError):
                fail(job.future, outcome)
            else:
                end(job.future, None)

    def _fail(self, jobs: list[Job], size: int, failure: StoreError) -> None:
        self._backlog.remove(size)
        self._callbacks.on_done(size)
        for job in jobs:
            fail(job.future, failure)


def _items(job: Job) -> Sequence[Item]:
    match job:
        case Append():
            return job.messages
        case Upsert():
            return [job.user]
        case _:
            return _asks(job)


def _asks(job: Job) -> Sequence[Ask]:
    match job:
        case Changing():
            return job.changes
        case Asking():
            return [job.ask]
        case _:
            return []
