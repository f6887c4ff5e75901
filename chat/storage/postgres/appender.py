"""One append: the statement, and what is done when it fails.

::

    the statement              is made again
    -------------              -------------
    a message is stored already  at once, with a look for those that are
    a room is missing            at once, with all rooms as new ones
    another epoch, or history    after a look at it (see `admission`)
      is missing
    others came in between       at once (a deadlock, a cancelled statement)
    the connection died          over another one, with a look for its own messages
    a value is at fault          by the caller, without that message
    anything else                never: `StoreError`

A connection that died took the answer with it. Then it is not known whether the commit was
made, until the batch is sent again and finds its own messages, or not. That goes on until the
deadline.

A commit has no time limit and is never cancelled: one that waits for its standby becomes
visible when it is cancelled, though no standby has it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError
from chat.storage.health import StoreHealth
from chat.storage.postgres.admission import Admission
from chat.storage.postgres.batch import Answer, Batch, Names
from chat.storage.postgres.connections import Connection, close
from chat.storage.postgres.epoch import Mark
from chat.storage.postgres.errors import (
    FAILURES,
    HISTORY_MISSING,
    OTHER_EPOCH,
    ROOM_MISSING,
    is_lost,
    is_of_a_value,
    is_passing,
    is_repeated,
    state_of,
    text_of,
)
from chat.storage.postgres.following import Following, InFlight
from chat.storage.stamps import LEAD_SECONDS
from gen.chat import ChatMessage
from hosting.logs import get_logger

log = get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
# How often the statement is made again at once: what others do is no reason to go on for ever.
_MOST_REPEATS: Final = 20

_APPEND: Final = (
    "SELECT * FROM chat.append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
)

Outcomes = dict[int, ChatMessage | StoreError]
"""By the `id()` of a message: itself, the original that it repeats, or its error."""


class Appender:
    """The connection that writes.

    Args:
        connect: opens a connection that is admitted.
        admission: knows the epoch.
        following: announces.
        health: is set by this one alone.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        admission: Admission,
        following: Following,
        metrics: StoreMetrics,
        health: StoreHealth,
    ) -> None:
        self._connect = connect
        self._admission = admission
        self._following = following
        self._metrics = metrics
        self._health = health
        self._names = Names()
        self._connection: Connection | None = None
        self._statement: PreparedStatement[asyncpg.Record] | None = None

    async def append(self, messages: Sequence[ChatMessage], deadline: float) -> Outcomes:
        """Stores messages of different rooms by one statement, or none of them; announces them.

        Args:
            messages: in order.
            deadline: until when, by the monotonic clock, it is tried to get a connection.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError: a value in them is at fault.
        """
        batch = Batch(messages)
        flight = self._following.send(batch.messages)
        try:
            attempt = _Attempt(deadline)
            answer = await self._answer(batch, flight, attempt)
        except StoreError as error:
            self._following.drop(flight)
            # A fetch may have found some that were stored.
            return {id(each): each if flight.is_announced(each) else error for each in messages}
        except BaseException:
            self._following.drop(flight)
            raise
        self._following.store(flight, answer.others, answer.own)
        return _outcomes(messages, batch, answer, flight, is_retry=attempt.is_retry)

    def terminate(self) -> None:
        """Drops the connection; the batch in flight is tried again over another one."""
        if self._connection is not None:
            self._connection.terminate()

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            await close(self._connection)

    async def _answer(self, batch: Batch, flight: InFlight, attempt: _Attempt) -> Answer:
        while True:
            try:
                return await self._try(batch, flight, attempt)
            except FAILURES as error:
                await self._recover(error, attempt)
            self._following.again(flight)

    async def _try(self, batch: Batch, flight: InFlight, attempt: _Attempt) -> Answer:
        statement = await self._ready()
        arguments = batch.arguments(
            self._admission.epoch, self._names, flight.positions, deduplicate=attempt.deduplicate
        )
        attempt.is_sent = True
        began = time.perf_counter()
        row = await statement.fetchrow(*arguments)
        assert row is not None  # noqa: S101 - a function returns one
        answer = batch.take(dict(row))
        self._names.add(batch.users, batch.rooms)
        if answer.own:
            last = answer.own[-1]
            self._admission.acknowledged = Mark(last.room_id, last.seq, last.sender_id, last.id)
        self._health.serve()
        self._metrics.stored += len(answer.own)
        self._metrics.committed(time.perf_counter() - began, len(batch.messages))
        if answer.went_back:
            log.warning(
                "times of messages go back, as the database's clock does",
                by_seconds=round(answer.went_back, 3),
                more_than=LEAD_SECONDS,
            )
        return answer

    async def _ready(self) -> PreparedStatement[asyncpg.Record]:
        """Returns the statement, on a connection that is open as far as one knows."""
        if self._statement is None or self._connection is None or self._connection.is_closed():
            self._statement = None
            self._names.clear()
            self._connection = await self._connect()
            self._statement = await self._connection.prepare(_APPEND)
        return self._statement

    async def _recover(self, error: Exception, attempt: _Attempt) -> None:
        """Returns when the statement may be made again.

        Raises:
            StoreError: it must not.
            asyncpg.PostgresError, asyncpg.InterfaceError: a value is at fault.
        """
        if is_lost(error):
            await self._lost(error, attempt)
            return
        attempt.repeat(error)
        if is_repeated(error):
            attempt.deduplicate = True
        elif state_of(error) == ROOM_MISSING:
            self._names.clear()
        elif state_of(error) in (OTHER_EPOCH, HISTORY_MISSING):
            assert self._connection is not None  # noqa: S101 - it gave the error
            await self._admission.judge(self._connection)
        elif is_of_a_value(error):
            raise error
        elif not is_passing(error):
            self._failed(error)
            raise StoreError(text_of(error)) from error

    async def _lost(self, error: Exception, attempt: _Attempt) -> None:
        if self._connection is not None:
            self._connection.terminate()
        if attempt.is_sent:
            attempt.is_retry = attempt.deduplicate = True
        if time.monotonic() + attempt.pause > attempt.deadline:
            self._failed(error)
            known = (
                "it is not known whether it was stored"
                if attempt.is_retry
                else "nothing was stored"
            )
            raise StoreError(f"{known}: the database was lost: {text_of(error)}") from error
        log.debug("connection to the database lost", exc_info=error)
        await asyncio.sleep(attempt.pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
        attempt.pause = min(2 * attempt.pause, _LONGEST_PAUSE_SECONDS)

    def _failed(self, error: Exception) -> None:
        """An append failed, as the next ones may."""
        self._metrics.failures += 1
        self._health.refuse(f"messages cannot be stored: {text_of(error)}")


class _Attempt:
    """How far one append has come.

    Attributes:
        deadline: until when a connection is waited for.
        deduplicate: whether some may be stored already.
        is_sent: whether the statement was sent.
        is_retry: whether it is sent again, and nobody knows what it did before.
        pause: the seconds until the next connection is tried.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.deduplicate = False
        self.is_sent = False
        self.is_retry = False
        self.pause = _FIRST_PAUSE_SECONDS
        self._repeats = 0

    def repeat(self, error: Exception) -> None:
        """Counts what makes the statement be made again at once."""
        self._repeats += 1
        if self._repeats > _MOST_REPEATS:
            raise StoreError(f"given up after {_MOST_REPEATS} times: {text_of(error)}") from error


def _outcomes(
    messages: Sequence[ChatMessage],
    batch: Batch,
    answer: Answer,
    flight: InFlight,
    *,
    is_retry: bool,
) -> Outcomes:
    """Returns for each message itself if it was stored, or the one that it repeats."""
    if len(answer.own) == len(messages):
        return {id(message): message for message in messages}
    found: Outcomes = {id(message): message for message in answer.own}
    for nth, old in answer.old.items():
        mine = batch.messages[nth]
        if is_retry and mine.room_id not in flight.positions and mine.content == old.content:
            # What the commit had stored of which no answer came. Nobody has to announce it.
            mine.seq, mine.sent_at = old.seq, old.sent_at
            found[id(mine)] = mine
        else:
            found[id(mine)] = mine if flight.is_announced(mine) else old
    return {id(message): found[id(batch.first_of(message))] for message in messages}
