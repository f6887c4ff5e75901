"""How far users have read: what has queued up meanwhile, in one commit.

A mark moves on, unless it is told to go back, and is never beyond the head of its room. Of one user
and room there is one mark in a commit, so that each caller learns what came of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from chat.storage.base import StoreError, Unstorable
from chat.storage.changes import MOST_MENTIONS
from chat.storage.listener import UserMark
from chat.storage.postgres.admission import Admission
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.durable import DurableConnection
from chat.storage.postgres.errors import fault_of
from gen.chat import Mark
from hosting.logs import get_logger

log = get_logger(__name__)

# How many marks one commit has.
_MOST: Final = 500

_MARK: Final = "SELECT * FROM chat.mark_1($1, $2, $3, $4, $5, $6)"


class _Job(NamedTuple):
    """A mark that somebody waits for: user, room, and how far."""

    key: tuple[str, str]
    seq: int
    back: bool
    future: asyncio.Future[Mark]


class Marks:
    """The task and its queue.

    Args:
        connection: for the commits.
        admission: knows the epoch.
        tell: is told of marks that moved.
    """

    def __init__(
        self,
        connection: DurableConnection,
        admission: Admission,
        tell: Callable[[Sequence[UserMark]], None],
    ) -> None:
        self._connection = connection
        self._admission = admission
        self._tell = tell
        self._queue: list[_Job] = []
        self._wake = asyncio.Event()
        self._closing = False
        # How often the commit under way was tried.
        self._tries = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the task."""
        self._task = asyncio.create_task(self._run())

    async def mark(self, user_id: str, room_id: str, seq: int, *, back: bool) -> Mark:
        """See `Store.mark`."""
        if fault := fault_of(user_id, room_id):
            raise Unstorable(fault)
        if self._closing:
            raise StoreError("the store is closed")
        future: asyncio.Future[Mark] = asyncio.get_running_loop().create_future()
        self._queue.append(_Job((user_id, room_id), seq, back, future))
        self._wake.set()
        return await future

    async def close(self) -> None:
        """Does what is queued, unless the connection was given up."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not (self._closing and not self._queue):
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                jobs = self._next_jobs()
                self._tries = 0
                try:
                    await self._connection.do(partial(self._store, jobs))
                except StoreError as error:
                    _fail(jobs, error)
                except Exception as error:
                    # Whatever it is, nobody waits for ever, and those behind have their turn.
                    log.exception("marks failed")
                    _fail(jobs, StoreError(f"marks failed: {error!r}"))
                except BaseException:
                    _fail(jobs, StoreError("the store is closed"))
                    raise

    def _next_jobs(self) -> list[_Job]:
        """Takes those in front that can be stored by one statement."""
        jobs: dict[tuple[str, str], _Job] = {}
        while self._queue and len(jobs) < _MOST:
            job = self._queue[0]
            if job.key in jobs or job.back != next(iter(jobs.values()), job).back:
                break
            jobs[job.key] = self._queue.pop(0)
        return list(jobs.values())

    async def _store(self, jobs: Sequence[_Job], connection: Connection) -> None:
        self._tries += 1
        row = await connection.fetchrow(
            _MARK,
            self._admission.epoch,
            [job.key[0] for job in jobs],
            [job.key[1] for job in jobs],
            [job.seq for job in jobs],
            jobs[0].back,
            MOST_MENTIONS,
        )
        assert row is not None  # noqa: S101 - a function returns one
        moved = []
        for job, has_moved, seq, mentions in zip(
            jobs, row["moved"], row["read_seqs"], row["mentions"], strict=True
        ):
            mark = Mark(job.key[1], seq, mentions)
            # If a commit was made of which no answer came, it has moved before.
            if has_moved or self._tries > 1:
                moved.append(UserMark(job.key[0], mark))
            if not job.future.done():
                job.future.set_result(mark)
        if moved:
            self._tell(moved)


def _fail(jobs: Sequence[_Job], error: StoreError) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
