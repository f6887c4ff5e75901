"""The writer thread: group commit on the only connection that writes.

All that was queued while one commit ran goes into the next. A commit costs one
flush of the disk, however many messages are in it.

The thread runs beside a busy event loop and shares the interpreter's lock with
it. SQLite gives the lock up around each statement, and taking it back may mean
waiting for the loop; so what matters is the number of statements, not of rows:
rows are inserted many at a time.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import apsw
import structlog

import codec
from chat.storage.base import Appended, Listener, StoreError
from chat.storage.sqlite.schema import SEQ_BITS, SEQ_MASK
from gen.chat import ChatMessage
from gen.chat_codec import make_chat_message

log = structlog.get_logger(__name__)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# How many messages one commit takes at most: a bound on its time and memory.
_COMMIT_MESSAGES: Final = 5000
# Rows are inserted in the largest of these steps that still fits.
_STEPS: Final = (128, 64, 32, 16, 8, 4, 2, 1)
_CACHED_NAMES: Final = 100_000

_Row = tuple[int, str, str, int, str]


@dataclass(slots=True)
class Append:
    """Messages to store, and who waits for it."""

    messages: Sequence[ChatMessage]
    future: asyncio.Future[list[Appended]]


@dataclass(slots=True)
class Upsert:
    """A user to store, and who waits for it."""

    user_id: str
    name: str
    email: str
    future: asyncio.Future[None]


Job = Append | Upsert


class _Repeated(Exception):
    """Some message of the commit was stored before."""


class Writer:
    """The thread, its queue and its connection.

    Args:
        connection: from `schema.open_writer`; the thread closes it.
        listener: is told in the event loop of what was newly stored.
        settled: is told in the event loop when jobs are done, before their
            futures are.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        listener: Listener,
        settled: Callable[[Iterable[Job]], None],
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._table = _Table(connection)
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
            while jobs := self._next_jobs():
                self._commit(jobs)
        finally:
            self._connection.close()

    def _next_jobs(self) -> list[Job]:
        job = self._queue.get()
        jobs: list[Job] = []
        size = 0
        while job is not None:
            jobs.append(job)
            size += len(job.messages) if isinstance(job, Append) else 1
            if size >= _COMMIT_MESSAGES:
                return jobs
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs
        if jobs:  # the sentinel came behind them: leave it for the next round
            self._queue.put(None)
        return jobs

    def _commit(self, jobs: list[Job]) -> None:
        try:
            outcomes = self._table.commit(jobs)
        except Exception as error:
            # Whatever went wrong, those who wait must learn of it.
            log.exception("commit failed", jobs=len(jobs))
            failure = StoreError(str(error))
            self._loop.call_soon_threadsafe(self._fail, jobs, failure)
        else:
            self._loop.call_soon_threadsafe(self._finish, jobs, outcomes)

    def _finish(self, jobs: list[Job], outcomes: list[list[Appended]]) -> None:
        fresh = [result.message for results in outcomes for result in results if result.fresh]
        if fresh:
            self._listener(fresh)
        self._settled(jobs)
        for job, results in zip(jobs, outcomes, strict=True):
            if job.future.done():
                continue
            if isinstance(job, Append):
                job.future.set_result(results)
            else:
                job.future.set_result(None)

    def _fail(self, jobs: list[Job], failure: StoreError) -> None:
        self._settled(jobs)
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(failure)


class _Table:
    """The statements of one commit. Runs in the writer thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._heads: dict[str, int] = {}  # room_id -> position of its newest message
        self._known_users: set[str] = set()
        self._last_sent_at = 0

    def commit(self, jobs: list[Job]) -> list[list[Appended]]:
        """Stores the jobs in one transaction; returns what `Append` returns for each."""
        try:
            return self._attempt(jobs, check=False)
        except _Repeated:
            return self._attempt(jobs, check=True)

    def _attempt(self, jobs: list[Job], *, check: bool) -> list[list[Appended]]:
        batch = _Batch(self._heads, self._now())
        try:
            with self._connection:
                self._fill(batch, jobs, check=check)
                self._insert(batch.rows)
                self._add_users(batch.senders)
                for job in jobs:
                    if isinstance(job, Upsert):
                        self._upsert(job)
        except BaseException:
            self._forget_caches()
            raise
        self._last_sent_at = batch.sent_at
        self._trim_caches()
        return batch.results(jobs)

    def _fill(self, batch: _Batch, jobs: list[Job], *, check: bool) -> None:
        for job in jobs:
            if not isinstance(job, Append):
                continue
            for message in job.messages:
                room_id = codec.fields_of(message)["room_id"]
                if room_id not in self._heads:
                    self._heads[room_id] = self._load_head(room_id)
                original = self._find(message) if check else None
                batch.add(message, original)

    def _insert(self, rows: list[_Row]) -> None:
        start = 0
        for step in _STEPS:
            while len(rows) - start >= step:
                self._insert_step(rows[start : start + step])
                start += step

    def _insert_step(self, rows: list[_Row]) -> None:
        values = ",".join(["(?,?,?,?,?)"] * len(rows))
        try:
            self._connection.execute(
                f"INSERT INTO messages VALUES {values}",  # noqa: S608 - only question marks
                [value for row in rows for value in row],
            )
        except apsw.ConstraintError:
            raise _Repeated from None

    def _load_head(self, room_id: str) -> int:
        execute = self._connection.execute
        execute("INSERT OR IGNORE INTO rooms (room_id) VALUES (?)", (room_id,))
        return int(
            execute(
                "SELECT coalesce((SELECT position FROM messages WHERE position"
                " BETWEEN room << 32 AND room << 32 | 0xffffffff"
                " ORDER BY position DESC LIMIT 1), room << 32)"
                " FROM rooms WHERE room_id = ?",
                (room_id,),
            ).get
        )

    def _find(self, message: ChatMessage) -> ChatMessage | None:
        row = self._connection.execute(
            "SELECT position, sent_at, content FROM messages"
            " WHERE position >> 32 = ? AND sender_id = ? AND id = ?",
            (self._heads[message.room_id] >> SEQ_BITS, message.sender_id, message.id),
        ).get
        if row is None:
            return None
        position, sent_at, content = row
        return make_chat_message(
            id=message.id,
            room_id=message.room_id,
            sender_id=message.sender_id,
            content=content,
            seq=position & SEQ_MASK,
            sent_at=from_micros(sent_at),
        )

    def _add_users(self, senders: set[str]) -> None:
        new = [(user, user) for user in senders - self._known_users]
        if new:
            self._connection.executemany("INSERT OR IGNORE INTO users VALUES (?, ?, '')", new)
            self._known_users.update(user for user, _ in new)

    def _upsert(self, job: Upsert) -> None:
        self._connection.execute(
            "INSERT INTO users VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET name = excluded.name, email = excluded.email",
            (job.user_id, job.name, job.email),
        )

    def _now(self) -> int:
        # A clock that is set back must not make a later message look earlier.
        return max(time.time_ns() // 1000, self._last_sent_at)

    def _forget_caches(self) -> None:
        """After a rollback the caches may hold what the file does not."""
        self._heads.clear()
        self._known_users.clear()

    def _trim_caches(self) -> None:
        if len(self._heads) > _CACHED_NAMES:
            self._heads.clear()
        if len(self._known_users) > _CACHED_NAMES:
            self._known_users.clear()


class _Batch:
    """The messages of one commit, as they get their positions."""

    def __init__(self, heads: dict[str, int], sent_at: int) -> None:
        self._heads = heads
        self.sent_at = sent_at
        self.rows: list[_Row] = []
        self.senders: set[str] = set()
        self._by_key: dict[tuple[str, str, str], ChatMessage] = {}
        self._originals: dict[int, ChatMessage] = {}  # by the id() of the repeated message
        self._positions: list[tuple[ChatMessage, int]] = []

    def add(self, message: ChatMessage, stored: ChatMessage | None) -> None:
        """Gives the message the next position, unless it repeats an earlier one."""
        fields = codec.fields_of(message)
        room_id, sender_id, message_id = fields["room_id"], fields["sender_id"], fields["id"]
        key = (room_id, sender_id, message_id)
        original = stored or self._by_key.get(key)
        if original is not None:
            self._originals[id(message)] = original
            return
        self._by_key[key] = message
        position = self._heads[room_id] + 1
        self._heads[room_id] = position
        self.rows.append((position, sender_id, message_id, self.sent_at, fields["content"]))
        self.senders.add(sender_id)
        self._positions.append((message, position))

    def results(self, jobs: list[Job]) -> list[list[Appended]]:
        """Called once the messages are on disk: only then they get `seq` and `sent_at`."""
        sent_at = from_micros(self.sent_at)
        for message, position in self._positions:
            fields = codec.fields_of(message)
            fields["seq"] = position & SEQ_MASK
            fields["sent_at"] = sent_at
        return [
            [self._result(message) for message in job.messages] if isinstance(job, Append) else []
            for job in jobs
        ]

    def _result(self, message: ChatMessage) -> Appended:
        original = self._originals.get(id(message))
        if original is None:
            return Appended(message, fresh=True)
        return Appended(original, fresh=False)


def from_micros(micros: int) -> datetime:
    """Turns microseconds since 1970 into a time in UTC."""
    return EPOCH + timedelta(microseconds=micros)
