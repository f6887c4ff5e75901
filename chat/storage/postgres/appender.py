"""One append: the statement, and what is done when it fails.

::

    the statement              is made again
    -------------              -------------
    a message is stored already  at once, with a look for those that are
    a room is missing, or users  at once, with all rooms and users as new ones
      were erased
    another epoch, or history    after a look at it (see `admission`)
      is missing
    others came in between       at once (a deadlock, a cancelled statement)
    the connection died          over another one, with a look for its own messages
    a value is at fault          by the caller, without that message
    anything else                never: `StoreError`

A connection that died took the answer with it. Then it is not known whether the commit was
made, until the batch is sent again and finds its own messages, or not. That goes on for
`PATIENCE_SECONDS`.

A commit has no time limit and is never cancelled: one that waits for its standby becomes
visible when it is cancelled, though no standby has it. `commit_watch` looks why it waits.
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
from chat.storage.postgres.batch import Answer, Batch, Names, Outcomes, outcomes
from chat.storage.postgres.commit_watch import LONG_SECONDS, CommitWatch
from chat.storage.postgres.connections import Connection, close
from chat.storage.postgres.errors import (
    FAILURES,
    HISTORY_MISSING,
    OTHER_EPOCH,
    ROOM_MISSING,
    USERS_ERASED,
    is_lost,
    is_of_a_value,
    is_passing,
    is_repeated,
    state_of,
    text_of,
)
from chat.storage.postgres.following import Following
from chat.storage.postgres.kept import Opening
from chat.storage.postgres.stays import InFlight, Mark
from chat.storage.stamps import LEAD_SECONDS
from gen.chat import ChatMessage
from hosting.logs import get_logger

log = get_logger(__name__)

PATIENCE_SECONDS: Final = 10.0
"""How long a batch is tried again after its connection died, and a job waits for another one."""
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
# How long nobody's append waits for a connection: one may come at any time.
_PROBE_PATIENCE_SECONDS: Final = 1.0
# How often the statement is made again at once: what others do is no reason to go on for ever.
_MOST_REPEATS: Final = 20

_APPEND: Final = (
    "SELECT * FROM chat.append_2("
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
)
# A write that changes nothing, but has to be committed.
_PROBE: Final = "UPDATE chat.meta SET value = value WHERE key = 'epoch'"


class Appender:
    """The connection that writes.

    Args:
        connect: opens a connection whose history was judged.
        admission: knows the epoch.
        following: knows what was announced.
        stored: takes the answer, see `Follower.stored`.
        watch: looks at commits that take long.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        admission: Admission,
        following: Following,
        stored: Callable[[InFlight, Sequence[ChatMessage], Sequence[ChatMessage]], None],
        watch: CommitWatch,
        metrics: StoreMetrics,
        health: StoreHealth,
    ) -> None:
        self._opening = Opening(connect)
        self._admission = admission
        self._following = following
        self._watch = watch
        self._stored = stored
        self._metrics = metrics
        self._health = health
        self._names = Names()
        self._connection: Connection | None = None
        self._statement: PreparedStatement[asyncpg.Record] | None = None
        self._lost_at: float | None = None

    async def append(self, messages: Sequence[ChatMessage], came: float) -> Outcomes:
        """Stores messages by one statement, all or none of them; announces them.

        Args:
            messages: in order.
            came: since when somebody waits for that, by the monotonic clock.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError: a value in them is at fault.
        """
        batch = Batch(messages)
        flight = self._following.send(batch.messages)
        attempt = _Attempt(came)
        try:
            answer = await self._answer(batch, flight, attempt)
        except StoreError as error:
            self._following.drop(flight)
            # A fetch may have found some that were stored.
            return {id(each): each if flight.is_announced(each) else error for each in messages}
        except BaseException:
            self._following.drop(flight)
            raise
        self._stored(flight, answer.others, answer.own)
        return outcomes(messages, batch, answer, flight, is_retry=attempt.is_retry)

    @property
    def is_well(self) -> bool:
        """Whether the last append succeeded, and the connection is there, as far as one knows."""
        is_open = self._connection is not None and not self._connection.is_closed()
        return is_open and self._health.is_serving

    async def probe(self) -> None:
        """Looks whether an append would succeed, when nobody makes one."""
        try:
            await self._ready(_PROBE_PATIENCE_SECONDS)
            if not self._health.is_serving:
                assert self._connection is not None  # noqa: S101 - it is ready
                with self._watch.commit(self._connection):
                    await self._connection.execute(_PROBE)
                self._health.serve()
        except (*FAILURES, StoreError) as error:
            if is_lost(error):
                self._lose(error)
            else:
                log.debug("the database takes no writes", exc_info=error)

    def terminate(self) -> None:
        """Drops the connection; the batch in flight is tried again over another one."""
        if self._connection is not None:
            self._connection.terminate()

    def give_up(self) -> None:
        """Drops the connection; the batch in flight is not tried again."""
        self._opening.give_up()
        self.terminate()

    async def close(self) -> None:
        """Closes the connection."""
        await self._opening.close()
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
        if attempt.has_doubt:
            # Another connection is judged before it is used.
            self.terminate()
            attempt.has_doubt = False
        statement = await self._ready(attempt.patience())
        assert self._connection is not None  # noqa: S101 - it is ready
        if flight.generation != self._following.generation:
            self._following.again(flight)
        arguments = batch.arguments(
            self._admission.epoch, self._names, flight.positions, deduplicate=attempt.deduplicate
        )
        attempt.is_sent = True
        began = time.perf_counter()
        with self._watch.commit(self._connection):
            row = await statement.fetchrow(*arguments)
        assert row is not None  # noqa: S101 - a function returns one
        answer = batch.take(dict(row))
        self._metrics.committed(time.perf_counter() - began, len(batch.messages))
        self._names.add(batch.users, batch.rooms)
        self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        self._health.serve()
        self._metrics.stored += len(answer.own)
        if answer.own:
            last = answer.own[-1]
            self._admission.acknowledged = Mark(last.room_id, last.seq, last.sender_id, last.id)
        if answer.went_back:
            log.warning(
                "times of messages go back, as the clock does",
                by_seconds=round(answer.went_back, 3),
                more_than=LEAD_SECONDS,
            )

    async def _ready(self, patience: float) -> PreparedStatement[asyncpg.Record]:
        """Returns the statement, on a connection that is open as far as one knows.

        Args:
            patience: how long a connection is waited for, in seconds.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: there is none; `is_lost`.
        """
        if self._statement is None or self._connection is None or self._connection.is_closed():
            was_there, self._statement = self._connection is not None, None
            self._names.clear()
            self.terminate()
            self._connection = await self._opening.get(patience)
            self._statement = await self._connection.prepare(_APPEND)
            self._metrics.reconnects += was_there
            self._lost_at = None
        return self._statement

    async def _recover(self, error: Exception, attempt: _Attempt) -> None:
        """Returns when the statement may be made again.

        Raises:
            StoreError: it must not.
            asyncpg.PostgresError, asyncpg.InterfaceError: a value is at fault.
        """
        if is_lost(error):
            self._lose(error)
            await self._pause(error, attempt)
            return
        attempt.repeat(error)
        if is_repeated(error):
            attempt.deduplicate = True
        elif state_of(error) == ROOM_MISSING:
            self._names.clear()
        elif state_of(error) == USERS_ERASED:
            self._names.clear()
            self._names.erased = getattr(error, "detail", None) or ""
        elif state_of(error) in (OTHER_EPOCH, HISTORY_MISSING):
            attempt.has_doubt = True
        elif is_of_a_value(error):
            raise error
        elif not is_passing(error):
            self._fail(error)
            raise StoreError(text_of(error)) from error

    async def _pause(self, error: Exception, attempt: _Attempt) -> None:
        """Waits before the next attempt to connect, unless there was time enough for that."""
        deadline = attempt.lost() + PATIENCE_SECONDS
        if self._opening.gave_up or time.monotonic() + attempt.pause > deadline:
            self._fail(error)
            known = "it is not known whether it was stored" if attempt.is_retry else "not stored"
            raise StoreError(f"the database was lost, {known}: {text_of(error)}") from error
        await asyncio.sleep(attempt.pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
        attempt.pause = min(2 * attempt.pause, _LONGEST_PAUSE_SECONDS)

    def _lose(self, error: Exception) -> None:
        """The connection is of no use any more."""
        self.terminate()
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            log.warning("connection to the database lost", error=text_of(error))
        if now - self._lost_at > LONG_SECONDS:
            self._refuse(error)

    def _fail(self, error: Exception) -> None:
        self._metrics.failures += 1
        self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        # A reason that was told before may be the better one, as that no standby confirms.
        if self._health.is_serving:
            self._health.refuse(f"messages cannot be stored: {text_of(error)}")


class _Attempt:
    """How far one append has come.

    Args:
        came: since when somebody waits for it, by the monotonic clock.

    Attributes:
        deduplicate: whether some may be stored already.
        has_doubt: whether the history may be another one.
        is_sent: whether the statement was sent, since the last connection died.
        is_retry: whether it was sent, and nobody knows what it did.
        pause: the seconds until the next connection is tried.
    """

    def __init__(self, came: float) -> None:
        self.deduplicate = False
        self.has_doubt = False
        self.is_sent = False
        self.is_retry = False
        self.pause = _FIRST_PAUSE_SECONDS
        self._since = came
        self._repeats = 0

    def lost(self) -> float:
        """Takes note that the connection died; returns since when a connection is waited for."""
        if self.is_sent:
            if not self.is_retry:
                self._since = time.monotonic()
            self.is_sent, self.is_retry, self.deduplicate = False, True, True
        return self._since

    def patience(self) -> float:
        """Returns how long a connection may be waited for, in seconds."""
        return max(0.0, self._since + PATIENCE_SECONDS - time.monotonic())

    def repeat(self, error: Exception) -> None:
        """Counts what makes the statement be made again at once.

        Raises:
            StoreError: that was often enough.
        """
        self._repeats += 1
        if self._repeats > _MOST_REPEATS:
            raise StoreError(f"given up after {_MOST_REPEATS} times: {text_of(error)}") from error
