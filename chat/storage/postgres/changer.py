"""The task that changes messages: what has queued up meanwhile, in one transaction.

::

    callers                task                                     database
    -------                ----                                     --------
    change() --> queue --> what they need, at one moment  <-------- messages, states, reactions
                           decide, one after the other (`change_batch`)
                           what came of it                --------> locks, comparison, one commit
                           announce (`change_following`)
             <-- futures, once all is announced

Nothing is locked while it is decided. If another node has changed anything in these rooms since,
the commit says so, and all of it is read and decided anew. A request says what is to hold, so one
whose commit is in doubt is simply done again: what holds already uses no number. One whose caller
is gone comes to nothing: while this node slept, another one may have answered it, and what the
caller asked for next.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

import betterproto

from chat.errors import ChatError
from chat.metrics import StoreMetrics
from chat.storage.base import StoreError, Unstorable
from chat.storage.changes import Change, state_of
from chat.storage.postgres import appender
from chat.storage.postgres.admission import Admission
from chat.storage.postgres.change_batch import ChangeBatch, RoomChange, Wanted
from chat.storage.postgres.change_follower import ChangeFollower
from chat.storage.postgres.change_following import ChangeMark
from chat.storage.postgres.change_reads import read_to_decide
from chat.storage.postgres.commit_watch import CommitWatch
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.durable import DurableConnection
from chat.storage.postgres.errors import fault_of
from chat.storage.postgres.infos import newest_seq
from gen.chat import ChatMessage, Room
from hosting.logs import get_logger

log = get_logger(__name__)

# How many changes one commit has.
_MOST: Final = 256
_CLOSE_SECONDS: Final = 10.0
_TICK_SECONDS: Final = 1.0

_GONE: Final = StoreError("the caller is gone")
_CHANGE: Final = f"SELECT chat.change_2({', '.join(f'${nth}' for nth in range(1, 31))})"

Asked = Change | RoomChange
Answer = ChatMessage | Room
Outcome = Answer | ChatError | StoreError


class _Job(NamedTuple):
    """A change that somebody waits for, since a time of the monotonic clock."""

    change: Asked
    future: asyncio.Future[Answer]
    came: float


class Changer:
    """The task and its queue.

    Args:
        connection: for the commits.
        admission: knows the epoch.
        follower: announces.
        tell: tells other nodes which rooms have changed.
        watch: knows how long a commit has taken.
        metrics: counts changes.
    """

    def __init__(
        self,
        connection: DurableConnection,
        admission: Admission,
        follower: ChangeFollower,
        tell: Callable[[Mapping[str, int]], None],
        watch: CommitWatch,
        metrics: StoreMetrics,
    ) -> None:
        self._connection = connection
        self._admission = admission
        self._follower = follower
        self._tell = tell
        self._watch = watch
        self._metrics = metrics
        self._queue: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        watch.add_listener(self._expire)

    def start(self) -> None:
        """Starts the task."""
        self._task = asyncio.create_task(self._run())

    async def change(self, change: Change) -> ChatMessage:
        """See `Store.change`."""
        request = change.request
        _, value = betterproto.which_one_of(request, "change")
        text = value if isinstance(value, str) else ""
        if fault := fault_of(request.room_id, request.user_id, text):
            raise Unstorable(fault)
        message = await self._ask(change)
        assert isinstance(message, ChatMessage)  # noqa: S101 - see `_decided`
        if (state := state_of(message)) is not None:
            await self._follower.reach(request.room_id, state.change)
        return message

    async def set_room(self, room: Room, if_change: int | None) -> Room:
        """See `Store.set_room`."""
        if fault := fault_of(room.id, room.title, room.topic):
            raise Unstorable(fault)
        known = await self._ask(RoomChange(room, if_change))
        assert isinstance(known, Room)  # noqa: S101 - see `_decided`
        await self._follower.reach(room.id, known.change)
        return replace(known)

    async def close(self) -> None:
        """Does what is queued; gives a commit up that takes too long."""
        self._closing = True
        self._wake.set()
        if self._task is None:
            return
        while not (await asyncio.wait([self._task], timeout=_TICK_SECONDS))[0]:
            if self._watch.seconds > _CLOSE_SECONDS:
                log.error("changes given up, as the server stops: they may be stored or not")
                self._connection.give_up()

    async def _ask(self, change: Asked) -> Answer:
        if self._closing:
            raise StoreError("the store is closed")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(_Job(change, future, time.monotonic()))
        self._wake.set()
        return await future

    async def _run(self) -> None:
        while not (self._closing and not self._queue):
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                jobs = [self._queue.popleft() for _ in range(min(_MOST, len(self._queue)))]
                try:
                    outcomes = await self._connection.do(partial(self._store, jobs))
                except StoreError as error:
                    self._end(jobs, [error] * len(jobs))
                except Exception as error:
                    # Whatever it is, nobody waits for ever, and those behind have their turn.
                    log.exception("changes failed")
                    self._end(jobs, [StoreError(f"changes failed: {error!r}")] * len(jobs))
                except BaseException:
                    self._end(jobs, [StoreError("the store is closed")] * len(jobs))
                    raise
                else:
                    self._end(jobs, outcomes)

    async def _store(self, jobs: Sequence[_Job], connection: Connection) -> Sequence[Outcome]:
        """Reads, decides and stores, once."""
        wanted = Wanted([job.change for job in jobs])
        epoch, found = await read_to_decide(connection, wanted)
        batch = ChangeBatch(wanted, found)
        # A connection that was closed while this node slept has been noticed by now.
        outcomes = [_GONE if job.future.done() else _decided(batch, job.change) for job in jobs]
        own_epoch = self._admission.epoch
        if not len(batch) and epoch == own_epoch:
            return outcomes
        # Of another epoch than the node's this says so.
        began = time.perf_counter()
        await connection.execute(_CHANGE, *batch.arguments(own_epoch))
        if own_epoch != self._admission.epoch:
            # What it has stored may be of the history of before.
            raise ConnectionError("the history became another one")
        self._metrics.commit_seconds.observe(time.perf_counter() - began)
        self._metrics.changed += len(batch)
        spans = batch.spans()
        last = spans[-1]
        self._admission.acknowledged_change = ChangeMark(
            last.room_id, last.last_change, newest_seq(last)
        )
        self._follower.stored(spans)
        self._tell({span.room_id: span.last_change for span in spans})
        return outcomes

    def _end(self, jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.future.done():
                continue
            if isinstance(outcome, Answer):
                job.future.set_result(outcome)
            else:
                job.future.set_exception(outcome)

    def _expire(self) -> None:
        """Fails what waits for a commit that has no end, and was not sent yet."""
        if self._watch.seconds < appender.PATIENCE_SECONDS:
            return
        oldest = time.monotonic() - appender.PATIENCE_SECONDS
        while self._queue and self._queue[0].came < oldest:
            failure = StoreError("not changed: the database does not confirm commits")
            self._end([self._queue.popleft()], [failure])


def _decided(batch: ChangeBatch, change: Asked) -> Outcome:
    try:
        if isinstance(change, RoomChange):
            return batch.set_room(change)
        return batch.decide(change)
    except ChatError as error:
        return error
