"""The SQLite engine as a `Store`."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, Self, cast

import apsw

from chat.metrics import StoreMetrics
from chat.storage.base import (
    ChangesPage,
    Erased,
    Page,
    Range,
    ReactionRow,
    RoomIds,
    RoomRow,
    Store,
    StoreError,
    StoreUnusable,
)
from chat.storage.changes import Change
from chat.storage.health import StoreHealth
from chat.storage.listener import Head, Listener
from chat.storage.results import fit_page, is_full, make_user
from chat.storage.sqlite.asks import Answer, Forgetting, Reading, RoomHead, Setting, Told
from chat.storage.sqlite.claim import Claim
from chat.storage.sqlite.erasing import Erasing
from chat.storage.sqlite.files import DatabaseFiles
from chat.storage.sqlite.fold import fold_leftovers
from chat.storage.sqlite.heads import Heads
from chat.storage.sqlite.jobs import Append, Asking, Changing, Job, Settle, Upsert
from chat.storage.sqlite.journal import FOLD_BYTES, Journal, UserRow
from chat.storage.sqlite.pacing import Pacing
from chat.storage.sqlite.reader import Readers
from chat.storage.sqlite.room_reader import RoomReader, StoredRow
from chat.storage.sqlite.schema import open_writer, read_epoch
from chat.storage.sqlite.scrub import SCRUB_SECONDS, Scrub
from chat.storage.sqlite.state_reader import StateReader
from chat.storage.sqlite.tail import Tail
from chat.storage.sqlite.writer import IDLE_SECONDS, Writer, WriterCallbacks
from chat.storage.stamps import Clock
from gen.chat import ChatMessage, Mark, Room, User
from hosting import private
from hosting.logs import get_logger

log = get_logger(__name__)

# The memory of how many messages is given back in one turn of the event loop. More than
# come in a turn, so that it keeps up.
_RELEASED: Final = 1000


class _Database(NamedTuple):
    """An open database: the claim on it, its files, the writer's connection, and the readers."""

    claim: Claim
    files: DatabaseFiles
    connection: apsw.Connection
    readers: Readers


async def _open_database(path: str, claim: Claim, undo: AsyncExitStack) -> _Database:
    undo.callback(claim.close)
    connection = await asyncio.to_thread(_open, claim.real)
    undo.callback(connection.close)
    _warn(claim.real)
    files = DatabaseFiles(path, claim, connection)
    readers = Readers(claim.real)
    undo.push_async_callback(readers.close)
    await readers.start()
    return _Database(claim, files, connection, readers)


class SqliteStore(Store):
    """A history in one file, on this machine's disk, for one node.

    Durable: write-ahead log with ``synchronous=FULL``.
    """

    def __init__(
        self,
        database: _Database,
        journal: Journal,
        listener: Listener,
        *,
        queue_bytes: int,
        metrics: StoreMetrics,
        scrub: Scrub,
        idle_seconds: float | None,
    ) -> None:
        self.health = StoreHealth()
        self._claim, files, connection, self._readers = database
        self._epoch = read_epoch(connection)
        self._listener = listener
        self._metrics = metrics
        self._tail = Tail()
        self._heads = Heads()
        self._states = StateReader(self._readers)
        self._rooms = RoomReader(self._readers)
        self._erasing = Erasing(self._states, self._change, self._ask, self._settle)
        callbacks = WriterCallbacks(self._stored, self._told, self._folded, self._done)
        self._writer = Writer(
            connection, journal, files, callbacks, metrics, self.health, scrub, idle_seconds
        )
        self._pacing = Pacing(self._writer.put)
        self._queue_bytes = queue_bytes
        self._queued = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._active: set[str] = set()

    @classmethod
    async def open(
        cls,
        path: str,
        listener: Listener,
        queue_bytes: int,
        fold_bytes: int = FOLD_BYTES,
        metrics: StoreMetrics | None = None,
        idle_seconds: float | None = IDLE_SECONDS,
        clock: Clock = time.time_ns,
        scrub_seconds: float = SCRUB_SECONDS,
    ) -> Self:
        """Opens a file, or makes it.

        Args:
            path: where it is; missing folders are made.
            listener: see `chat.storage.base`.
            queue_bytes: how much may wait for the disk before `wait_writable` waits.
            fold_bytes: how much is moved from the journal to the table at a time, and
                is kept in memory until then.
            metrics: counts the commits.
            idle_seconds: after how long without anything to store all of the journal is
                moved; `None` for never.
            clock: the wall clock.
            scrub_seconds: within which time what was deleted or replaced is gone from the disk.

        Raises:
            StoreUnusable: it cannot be used; the text says why.
        """
        try:
            await asyncio.to_thread(_check_path, path)
            claim = await asyncio.to_thread(Claim, path)
        except OSError as error:
            raise StoreUnusable(f"cannot open the database {path}: {error.strerror}") from error
        try:
            async with AsyncExitStack() as undo:
                database = await _open_database(path, claim, undo)
                journal = Journal(database.connection, fold_bytes, clock)
                metrics = metrics or StoreMetrics()
                store = cls(
                    database,
                    journal,
                    listener,
                    queue_bytes=queue_bytes,
                    metrics=metrics,
                    scrub=Scrub(database.connection, journal, metrics, scrub_seconds, clock),
                    idle_seconds=idle_seconds,
                )
                undo.pop_all()
                return store
        except (apsw.Error, OSError, RuntimeError, StoreUnusable) as error:
            # A RuntimeError is of a thread that cannot be started.
            # SQLite may quote a damaged part of the schema, with its line breaks.
            why = " ".join(str(error).split())
            raise StoreUnusable(f"cannot open the database {path}: {why}") from error

    @property
    def epoch(self) -> str:
        return self._epoch

    def append(self, messages: Sequence[ChatMessage]) -> asyncio.Future[list[ChatMessage]]:
        future: asyncio.Future[list[ChatMessage]] = asyncio.get_running_loop().create_future()
        self._put(Append(messages, future))
        return future

    @property
    def queued_bytes(self) -> int:
        return self._queued

    async def wait_writable(self) -> None:
        # Another waiter may have refilled the queue; check again.
        while not self._writable.is_set():
            await self._writable.wait()

    async def follow(self, room_id: str) -> Head:
        seq = await self.last_seq(room_id)
        head = await self._head(room_id)
        return Head(self._tail.last_seq(room_id) or seq, head.change)

    async def last_seq(self, room_id: str) -> int:
        return self._tail.last_seq(room_id) or await self._readers.last_seq(room_id)

    async def history(self, room_id: str, span: Range) -> Page:
        while True:
            head = await self._head(room_id)
            has_states = self._heads.may_have_states(room_id)
            page = await self._page(room_id, span, head.change, has_states=has_states)
            # A message that was edited meanwhile has no text in the table any more.
            if has_states or not self._heads.may_have_states(room_id):
                return page

    async def _page(self, room_id: str, span: Range, last_change: int, *, has_states: bool) -> Page:
        # One more than asked for shows whether there are more.
        limit = span.limit + 1
        tail, rest = self._tail.find(room_id, Range(limit, span.before_seq, span.after_seq))
        last_seq = self._tail.last_seq(room_id)
        if span.after_seq is None:
            found = tail[::-1]
            if rest and len(found) < limit and not is_full(found):
                rest = Range(limit - len(found), rest.before_seq)
                found += await self._readers.messages(
                    room_id, rest, last_seq, has_states=has_states
                )
        else:
            found = tail
            if rest:
                found = await self._readers.messages(room_id, rest, last_seq, has_states=has_states)
                found += tail
        return fit_page(found[:limit], span, last_change)

    async def change(self, change: Change) -> ChatMessage:
        await self.wait_writable()
        return await self._change(change)

    async def change_all(self, changes: Sequence[Change]) -> Sequence[ChatMessage | Exception]:
        await self.wait_writable()
        return await self._change_all(changes) if changes else []

    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        return await self._states.changes(room_id, after_change, limit)

    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        return await self._states.count_changes(room_id, after_change, most)

    async def reactions(
        self, room_id: str, seq: int, user_id: str, after: tuple[str, int] | None, limit: int
    ) -> list[ReactionRow]:
        return await self._states.reactions(room_id, seq, user_id, after, limit)

    async def mark(self, user_id: str, room_id: str, seq: int, *, back: bool) -> Mark:
        last_seq = await self.last_seq(room_id)
        mark = await self._states.mark(user_id, room_id, last_seq)
        seq = min(seq, last_seq)
        if seq == mark.seq or (seq < mark.seq and not back):
            return mark
        await self.wait_writable()
        return cast("Mark", await self._ask(Reading(user_id, room_id, seq, back)))

    async def erase(self, user_id: str, limit: int) -> Erased:
        return await self._erasing.step(user_id, limit)

    async def erasures(self) -> list[str]:
        return await self._states.erasures()

    async def set_room(self, room: Room, if_change: int | None) -> Room:
        await self.wait_writable()
        return cast("Room", await self._ask(Setting(room, if_change)))

    async def room_ids(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        return await self._rooms.room_ids(after_id, limit, query, marked_by)

    async def room_rows(self, room_ids: Sequence[str], user_id: str) -> list[RoomRow]:
        rows: dict[str, RoomRow] = {}
        while missing := [room_id for room_id in room_ids if room_id not in rows]:
            in_tail = {room_id for room_id in missing if self._tail.last_seq(room_id)}
            for row in await self._rooms.rows(missing, user_id):
                room_id = row.room.id
                newest = self._tail.newest(room_id)
                # What was in the tail before may be in the table by now, and not have been then.
                if newest is not None or room_id not in in_tail:
                    rows[room_id] = _room_row(row, newest)
        return [rows[room_id] for room_id in room_ids]

    async def members(self, room_id: str, after_id: str, limit: int) -> list[str]:
        return await self._rooms.members(room_id, after_id, limit)

    async def get_users(self, user_ids: Sequence[str]) -> list[User]:
        return [self._user(row) for row in await self._readers.some_users(user_ids)]

    async def get_user(self, user_id: str) -> User | None:
        row = await self._readers.user(user_id)
        return None if row is None else self._user(row)

    async def upsert_user(self, user_id: str, name: str, email: str, tone: int = 0) -> User:
        await self.wait_writable()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        row = (user_id, name, email, tone)
        self._put(Upsert(row, future))
        await future
        return self._user(row)

    async def list_users(self, after_id: str, limit: int) -> list[User]:
        return [self._user(row) for row in await self._readers.users(after_id, limit)]

    def set_active(self, user_id: str, active: bool) -> None:
        (self._active.add if active else self._active.discard)(user_id)

    async def close(self) -> None:
        # The readers first: the last connection to close checkpoints, and that
        # must be the writer.
        await self._readers.close()
        self._pacing.flush()
        await self._writer.close()
        self._claim.close()

    def _put(self, job: Job) -> None:
        self._queued += job.size
        if self._queued > self._queue_bytes:
            self._writable.clear()
        self._pacing.put(job)

    async def _change(self, change: Change) -> ChatMessage:
        [made] = await self._change_all([change])
        if isinstance(made, Exception):
            raise made
        # Others that were in the commit may have the same one.
        return replace(made)

    async def _change_all(self, changes: Sequence[Change]) -> Sequence[ChatMessage | Exception]:
        future: asyncio.Future[Sequence[ChatMessage | Exception]]
        future = asyncio.get_running_loop().create_future()
        for room_id in {each.request.room_id for each in changes}:
            self._heads.begin(room_id, future)
        self._put(Changing(changes, future))
        try:
            # They are done whether or not somebody still waits for them.
            return await asyncio.shield(future)
        except StoreError as error:
            return [error] * len(changes)

    async def _ask(self, ask: Reading | Forgetting | Setting) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if isinstance(ask, Setting):
            self._heads.begin(ask.room.id, future)
        self._put(Asking(ask, future))
        # It is done whether or not somebody still waits for it.
        return await asyncio.shield(future)

    async def _settle(self) -> None:
        """Has all of the journal folded."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(Settle(future))
        await future

    async def _head(self, room_id: str) -> RoomHead:
        """Returns what was announced of a room's changes."""
        head = self._heads.get(room_id)
        if head is None:
            read = await self._states.head(room_id)
            if under_way := self._heads.under_way(room_id):
                await asyncio.wait(under_way)
            head = self._heads.learn(room_id, read)
        return head

    def _told(self, told: Told) -> None:
        for message in told.changed:
            self._tail.replace(message)
        self._heads.note(told)
        self._metrics.changed += sum(each.last_change - each.after_change for each in told.changes)
        if told.changes:
            self._listener.changed(told.changes)
        if told.marks:
            self._listener.marked(told.marks)

    def _stored(self, generation: int, messages: Sequence[ChatMessage]) -> None:
        self._metrics.stored += len(messages)
        self._tail.add(generation, messages)
        self._listener.announce(messages)  # to `Hub.announce`

    def _folded(self, before: int) -> None:
        self._tail.drop(before)
        self._release()

    def _release(self) -> None:
        if self._tail.release(_RELEASED):
            asyncio.get_running_loop().call_soon(self._release)

    def _done(self, size: int) -> None:
        self._queued -= size
        if self._queued <= self._queue_bytes:
            self._writable.set()

    def _user(self, row: UserRow) -> User:
        user_id, *_ = row
        return make_user(*row, active=user_id in self._active)


def _room_row(row: StoredRow, newest: ChatMessage | None) -> RoomRow:
    """Makes a row out of what the file has of a room, and its newest message in the tail."""
    last = row.last_message if newest is None else newest
    mark = None
    if row.read_seq is not None:
        seq = min(row.read_seq, 0 if last is None else last.seq)
        mark = Mark(row.room.id, seq, row.mentions)
    return RoomRow(row.room, last, mark, row.members)


def _open(path: str) -> apsw.Connection:
    connection = open_writer(path)
    try:
        fold_leftovers(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_path(path: str) -> None:
    """Refuses anything but a file, before anything is written beside it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise StoreUnusable(f"cannot open the database {path}: its name is not UTF-8") from None
    if Path(path).exists() and not Path(path).is_file():
        raise StoreUnusable(f"cannot open the database {path}: it is not a file")


def _warn(path: str) -> None:
    """Warns an operator of harm that may come to a database, though it can be opened."""
    if Path(path).stat().st_nlink > 1:
        log.warning(
            "the database has other names (hard links): its log is only found beside the name"
            " that it was opened by, so always open it by the same",
            database=path,
        )
    if private.others_may_read(path):
        log.warning("everybody on this machine may read the database", database=path)
