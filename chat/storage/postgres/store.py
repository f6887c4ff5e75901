"""The PostgreSQL engine as a `Store`."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

from chat.metrics import StoreMetrics
from chat.storage.base import (
    ChangesPage,
    Erased,
    Page,
    Range,
    ReactionRow,
    RoomIds,
    RoomRow,
    Spent,
    Store,
    StoreError,
)
from chat.storage.changes import Change
from chat.storage.health import StoreHealth
from chat.storage.listener import Head, Listener, UserMark, Whisper
from chat.storage.postgres import schema
from chat.storage.postgres.address import Address
from chat.storage.postgres.admission import Admission
from chat.storage.postgres.appender import Appender
from chat.storage.postgres.bus import choose_bus
from chat.storage.postgres.change_following import ChangeFollowing
from chat.storage.postgres.change_reads import ChangeReader
from chat.storage.postgres.changer import Changer
from chat.storage.postgres.commit_watch import CommitWatch
from chat.storage.postgres.connections import Connection, Connector, close
from chat.storage.postgres.durable import DurableConnection
from chat.storage.postgres.epoch import Server, read_server
from chat.storage.postgres.erasing import Erasing
from chat.storage.postgres.errors import FAILURES, unusable
from chat.storage.postgres.follower import Follower
from chat.storage.postgres.following import Following
from chat.storage.postgres.hints import Hints
from chat.storage.postgres.kept import ReaderPool
from chat.storage.postgres.lease import Lease
from chat.storage.postgres.marks import Marks
from chat.storage.postgres.reader import Reader, UserRow, check_whole
from chat.storage.postgres.room_reads import RoomReads
from chat.storage.postgres.side import SideConnection
from chat.storage.postgres.spending import Spending
from chat.storage.postgres.suspicions import Suspicions
from chat.storage.postgres.tails import TailReader
from chat.storage.postgres.valkey_address import ValkeyAddress
from chat.storage.postgres.writer import Job, Writer
from chat.storage.results import fit_page, make_user
from gen.chat import ChatMessage, Mark, Room, User
from hosting.logs import get_logger

log = get_logger(__name__)

SWEEP_SECONDS: Final = 5.0
"""How often it is looked for messages that no hint told of, unless a setting says else."""
# Connections for what followed rooms need.
_FOLLOWERS: Final = 2


class PostgresStore(Store):
    """A history in a database that any number of nodes share.

    Durable as the database is: each commit waits for its disk, and for its synchronous standby
    if it has one.
    """

    def __init__(
        self,
        connector: Connector,
        listener: Listener,
        *,
        queue_bytes: int,
        metrics: StoreMetrics,
        hints: ValkeyAddress | None,
        sweep_seconds: float,
    ) -> None:
        self.health = StoreHealth()
        self._connector = connector
        self._listener = listener
        self._following = Following(listener.announce, lambda rooms: self._suspicions.miss(rooms))
        self._changes = ChangeFollowing(
            self._following,
            listener.changed,
            lambda rooms: self._suspicions.miss(rooms, "change"),
        )
        self._watch = CommitWatch(connector.connect, metrics, self.health)
        self._admission = admission = Admission(
            self._following,
            self._changes,
            listener.renew,
            self._watch,
            metrics,
            on_change=self._terminate,
            on_doubt=lambda: self._suspicions.look(),
        )
        self._suspicions = Suspicions(connector, admission, self._terminate)
        # Of its own: who waits for a page must not hold up what is announced.
        self._tails = ReaderPool(self.connect, _FOLLOWERS)
        self._follower = Follower(
            self._following,
            self._changes,
            TailReader(Reader(self._tails, admission, connector.name).run),
            metrics,
            listener=listener,
            epoch=lambda: admission.epoch,
            on_other_epoch=self._suspicions.look,
            sweep_seconds=sweep_seconds,
        )
        self._hints = Hints(choose_bus(hints, self.connect), self._follower, metrics, sweep_seconds)
        self._hinted_by: Server | None = None
        self._appender = Appender(
            self._connect_writer,
            admission,
            self._following,
            self._follower.stored,
            self._watch,
            metrics,
            self.health,
        )
        self._writer = Writer(self._appender, self._watch, self._following, self.health, self._done)
        self._durable = DurableConnection(
            lambda: connector.connect(admission.judge), self._watch, metrics
        )
        self._changer = Changer(
            self._durable,
            admission,
            self._follower.changes,
            self._hints.tell_changes,
            self._watch,
            metrics,
        )
        self._marks = Marks(self._durable, admission, self._marked)
        self._erasing = Erasing(self._durable, self._changer)
        self._pool = ReaderPool(self.connect)
        self._reader = Reader(self._pool, admission, connector.name)
        self._change_reader = ChangeReader(self._reader)
        self._room_reads = RoomReads(self._reader)
        self._queue_bytes = queue_bytes
        self._queued = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._side = SideConnection(self._connect_side, self._suspicions.notice_silence)
        self._lease = Lease(connector.name, self._side, self._suspicions.hear, metrics)
        self._spending = Spending(self._side)

    @classmethod
    async def open(
        cls,
        url: str,
        listener: Listener,
        queue_bytes: int,
        *,
        password_file: str = "",
        metrics: StoreMetrics | None = None,
        hints: str = "",
        hints_password_file: str = "",
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> Self:
        """Opens a database; makes its tables if there are none.

        Args:
            url: where it is, see `address`.
            listener: see `chat.storage.base`.
            queue_bytes: how much may wait for the database before `wait_writable` waits.
            password_file: the file with the password, if it is in one.
            metrics: counts the commits.
            hints: the URL of a bus that tells other nodes of messages; empty for the database.
            hints_password_file: the file with the password of that, if it is in one.
            sweep_seconds: how often it is looked for messages that no hint told of.

        Raises:
            StoreUnusable: it cannot be used; the text says why.
        """
        address = Address.parse(url, password_file)
        store = cls(
            Connector(address, _node_name()),
            listener,
            queue_bytes=queue_bytes,
            metrics=metrics or StoreMetrics(),
            hints=ValkeyAddress.parse(hints, hints_password_file) if hints else None,
            sweep_seconds=sweep_seconds,
        )
        try:
            await store._start()
        except (*FAILURES, StoreError) as error:
            raise unusable(address.shown, error) from error
        return store

    @property
    def epoch(self) -> str:
        return self._admission.epoch

    @property
    def is_shared(self) -> bool:
        return True

    def append(self, messages: Sequence[ChatMessage]) -> asyncio.Future[list[ChatMessage]]:
        future: asyncio.Future[list[ChatMessage]] = asyncio.get_running_loop().create_future()
        job = Job(messages, future)
        self._queued += job.size
        if self._queued > self._queue_bytes:
            self._writable.clear()
        self._writer.put(job)
        return future

    @property
    def queued_bytes(self) -> int:
        return self._queued

    async def wait_writable(self) -> None:
        # Another waiter may have refilled the queue; check again.
        while not self._writable.is_set():
            await self._writable.wait()

    async def follow(self, room_id: str) -> Head:
        return await self._follower.follow(room_id)

    def unfollow(self, room_id: str) -> None:
        self._follower.unfollow(room_id)

    async def catch_up(self, room_id: str) -> None:
        await self._follower.catch_up(room_id)

    async def last_seq(self, room_id: str) -> int:
        return await self._reader.last_seq(room_id)

    async def history(self, room_id: str, span: Range) -> Page:
        # One more than asked for shows whether there are more.
        more = Range(span.limit + 1, span.before_seq, span.after_seq)
        while True:
            generation = self._following.generation
            announced = self._following.position(room_id) or 0
            changed = self._changes.position(room_id) or 0
            messages, last_change = await self._reader.messages(room_id, more)
            # What was announced of another history says nothing of this one.
            if generation == self._following.generation:
                break
        page = fit_page(messages, span, last_change)
        check_whole(page, span, announced, changed)
        return page

    async def change(self, change: Change) -> ChatMessage:
        return await self._changer.change(change)

    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        while True:
            generation = self._following.generation
            announced = self._changes.position(room_id) or 0
            page = await self._change_reader.changes(room_id, after_change, limit)
            if generation == self._following.generation:
                break
        if not page.has_more and page.changes.last_change < announced:
            raise StoreError("a change of the history is missing")
        return page

    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        return await self._change_reader.count_changes(room_id, after_change, most)

    async def reactions(
        self, room_id: str, seq: int, user_id: str, after: tuple[str, int] | None, limit: int
    ) -> list[ReactionRow]:
        return await self._change_reader.reactions(room_id, seq, user_id, after, limit)

    async def mark(self, user_id: str, room_id: str, seq: int, *, back: bool) -> Mark:
        return await self._marks.mark(user_id, room_id, seq, back=back)

    async def erase(self, user_id: str, limit: int) -> Erased:
        return await self._erasing.step(user_id, limit)

    async def erasures(self) -> list[str]:
        return await self._erasing.pending()

    async def set_room(self, room: Room, if_change: int | None) -> Room:
        return await self._changer.set_room(room, if_change)

    async def room_ids(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        return await self._room_reads.room_ids(after_id, limit, query, marked_by)

    async def room_rows(self, room_ids: Sequence[str], user_id: str) -> list[RoomRow]:
        return await self._room_reads.room_rows(room_ids, user_id)

    async def members(self, room_id: str, after_id: str, limit: int) -> list[str]:
        return await self._room_reads.members(room_id, after_id, limit)

    async def get_users(self, user_ids: Sequence[str]) -> list[User]:
        return [self._user(row) for row in await self._reader.some_users(user_ids)]

    def whisper(self, told: Whisper) -> None:
        self._hints.whisper(told)

    async def get_user(self, user_id: str) -> User | None:
        row = await self._reader.user(user_id)
        return None if row is None else self._user(row)

    async def upsert_user(self, user_id: str, name: str, email: str, tone: int = 0) -> User:
        return self._user(await self._reader.upsert(user_id, name, email, tone))

    async def list_users(self, after_id: str, limit: int) -> list[User]:
        return [self._user(row) for row in await self._reader.users(after_id, limit)]

    def set_active(self, user_id: str, active: bool) -> None:
        self._lease.set_active(user_id, active)

    async def settle(self, spent: Spent) -> Spent:
        return await self._spending.settle(spent)

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._pool.close)
            stack.push_async_callback(self._side.close)
            stack.push_async_callback(self._watch.close)
            stack.push_async_callback(self._lease.close)
            stack.push_async_callback(self._appender.close)
            stack.push_async_callback(self._durable.close)
            stack.push_async_callback(self._tails.close)
            stack.push_async_callback(self._hints.close)
            stack.push_async_callback(self._follower.close)
            stack.push_async_callback(self._suspicions.close)
            # What they store may have to be fetched before it is announced.
            stack.push_async_callback(self._writer.close)
            stack.push_async_callback(self._marks.close)
            stack.push_async_callback(self._changer.close)

    async def _start(self) -> None:
        # A database without its standby may let the very first commit wait.
        self._watch.start()
        try:
            # Of an old primary that still lives and its heir, only the latter will do.
            self._admission.expect(await self._connector.ask_all(read_server))
            await close(await self._connector.connect(self._prepare))
        except BaseException:
            await self._watch.close()
            raise
        self._follower.start(self._hints)
        self._hinted_by = self._admission.server
        self._hints.start()
        self._suspicions.start()
        self._writer.start()
        self._changer.start()
        self._marks.start()
        self._lease.start()

    async def _prepare(self, connection: Connection) -> None:
        await schema.prepare(connection)
        await schema.refuse_unfinished(connection)
        await self._admission.judge(connection)

    async def connect(self) -> Connection:
        """Opens a connection for statements that only read, or whose loss does no harm."""
        return await self._connector.connect(self._admission.admit)

    async def _connect_writer(self) -> Connection:
        connection = await self._connector.connect(self._admission.judge)
        # Whatever it was that went, it may have taken hints with it.
        self._follower.sweep_soon()
        if self._hinted_by != self._admission.server:
            self._hinted_by = self._admission.server
            self._hints.renew()
        return connection

    async def _connect_side(self) -> Connection:
        return await self._connector.connect(self._admission.recognize)

    def _terminate(self) -> None:
        """Drops connections that lead nowhere: what is under way is tried again."""
        self._appender.terminate()
        self._durable.terminate()
        self._pool.terminate()
        self._tails.terminate()

    def _done(self, size: int) -> None:
        self._queued -= size
        if self._queued <= self._queue_bytes:
            self._writable.set()

    def _marked(self, marks: Sequence[UserMark]) -> None:
        """Tells of marks that moved by this node."""
        self._hints.tell_marks(marks)
        followed = [each for each in marks if each.mark.room_id in self._following]
        if followed:
            self._listener.marked(followed)

    def _user(self, row: UserRow) -> User:
        user_id, name, email, tone, is_active = row
        active = is_active or self._lease.is_active(user_id)
        return make_user(user_id, name, email, tone, active=active)


def _node_name() -> str:
    """A name of this node, which no other has had, for people who look at the database."""
    return f"chat {socket.gethostname()[:24]} {os.getpid()} {uuid.uuid4().hex[:12]}"
