"""A connection beside the writer's, for what must survive as messages do: changes and marks.

It is used by one at a time, and each use is a piece of work that may be done twice. So whatever
goes wrong, the same is done again, over another connection if need be:

- the connection died, perhaps at the commit: again, for `appender.PATIENCE_SECONDS`;
- others came in between (a deadlock, changes that were not read): again at once;
- the history is another one, or looks so: after a look at it (see `admission`).

A commit has no time limit, as that of an append: `commit_watch` looks why it waits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError, Unanswered, Unstorable
from chat.storage.postgres import appender
from chat.storage.postgres.commit_watch import CommitWatch
from chat.storage.postgres.connections import Connection, close
from chat.storage.postgres.errors import (
    CHANGED_MEANWHILE,
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
from chat.storage.postgres.kept import Opening

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
# How long two nodes that came at once keep apart.
_APART_SECONDS: Final = 0.01
_AGAIN: Final = (CHANGED_MEANWHILE, HISTORY_MISSING, OTHER_EPOCH, ROOM_MISSING)


class DurableConnection:
    """One connection, opened when it is needed.

    Args:
        connect: opens a connection whose history was judged.
        watch: looks at commits that take long.
        metrics: counts failures.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        watch: CommitWatch,
        metrics: StoreMetrics,
    ) -> None:
        self._opening = Opening(connect)
        self._watch = watch
        self._metrics = metrics
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Does something until it is known to be done.

        Args:
            work: does it in one transaction, or reads; it may be done again.

        Raises:
            Unstorable: a value is at fault.
            Unanswered: it is not known whether it was done.
            StoreError: it was not done.
        """
        async with self._turn:
            deadline = time.monotonic() + appender.PATIENCE_SECONDS
            pause = _FIRST_PAUSE_SECONDS
            is_sent = False
            while True:
                connection = None
                try:
                    connection = await self._ready(deadline - time.monotonic())
                    with self._watch.commit(connection):
                        return await work(connection)
                except FAILURES as error:
                    if connection is not None and is_lost(error):
                        if not is_sent:
                            deadline = time.monotonic() + appender.PATIENCE_SECONDS
                        is_sent = True
                    self._recover(error)
                    lasts = pause if is_lost(error) else _APART_SECONDS
                    if self._opening.gave_up or time.monotonic() + lasts > deadline:
                        self._metrics.failures += 1
                        kind = Unanswered if is_sent else StoreError
                        raise kind(f"given up: {text_of(error)}") from error
                    await asyncio.sleep(lasts * random.uniform(0.5, 1))  # noqa: S311 - no secret
                    if is_lost(error):
                        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                except BaseException:
                    # A statement that was given up may still be running.
                    self.terminate()
                    raise

    def terminate(self) -> None:
        """Drops the connection: what is under way is done again over another one."""
        if self._connection is not None:
            self._connection.terminate()

    def give_up(self) -> None:
        """Drops the connection; what is under way is not done again."""
        self._opening.give_up()
        self.terminate()

    async def close(self) -> None:
        """Closes the connection."""
        await self._opening.close()
        if self._connection is not None:
            await close(self._connection)

    def _recover(self, error: Exception) -> None:
        """Returns if the same may succeed.

        Raises:
            StoreError: it may not.
        """
        if is_lost(error):
            self.terminate()
        elif state_of(error) in (OTHER_EPOCH, HISTORY_MISSING):
            # Another connection is judged before it is used.
            self.terminate()
        elif not (state_of(error) in _AGAIN or is_passing(error) or is_repeated(error)):
            self._metrics.failures += 1
            kind = Unstorable if is_of_a_value(error) else StoreError
            raise kind(text_of(error)) from error

    async def _ready(self, patience: float) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            self._connection = await self._opening.get(max(0.0, patience))
        return self._connection
