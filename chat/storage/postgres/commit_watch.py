"""A look at commits that take long: why they wait, and whether the server is still there.

A commit has no time limit (see `appender`). But those who wait must learn why, and a server
that died without a word would never answer. So, after `LONG_SECONDS`, another connection asks
the server what the one that writes is waiting for:

- a synchronous standby, a lock, anything else: the health of the store says so, and the commit
  goes on waiting;
- it does not know that connection, or does not answer either: that one is dropped, and the
  batch is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError
from chat.storage.health import StoreHealth
from chat.storage.postgres.connections import CONNECT_SECONDS, Admit, Connection, close
from chat.storage.postgres.errors import FAILURES, is_lost, text_of
from hosting.logs import get_logger

log = get_logger(__name__)

LONG_SECONDS: Final = 5.0
"""After how long it is asked why a commit takes so long."""
_TICK_SECONDS: Final = 1.0

_WAITS_FOR: Final = """
SELECT coalesce(wait_event, 'nothing') FROM pg_stat_activity WHERE pid = $1 AND application_name =
    current_setting('application_name')
"""
_NO_STANDBY: Final = (
    "commits wait for a synchronous standby, and none confirms them: start one, or take it out of "
    "synchronous_standby_names"
)


class CommitWatch:
    """The commits under way.

    Args:
        connect: opens another connection to the server.
        health: says that a commit takes long; who commits says that it is over.
    """

    def __init__(
        self,
        connect: Callable[[Admit], Awaitable[Connection]],
        metrics: StoreMetrics,
        health: StoreHealth,
    ) -> None:
        self._connect = connect
        self._metrics = metrics
        self._health = health
        # When each began, by its connection, in that order.
        self._commits: dict[Connection, float] = {}
        self._listeners: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to look."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def seconds(self) -> float:
        """How long the oldest commit under way has taken; 0 if there is none."""
        return time.monotonic() - min(self._commits.values()) if self._commits else 0.0

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Calls a listener now and then while a commit takes long."""
        self._listeners.append(listener)

    @contextmanager
    def commit(self, connection: Connection) -> Iterator[None]:
        """Begins a commit over a connection; it is over at the end of the context."""
        self._commits[connection] = time.monotonic()
        try:
            yield
        finally:
            del self._commits[connection]
            if not self._commits:
                self._metrics.commit_wait_seconds = 0.0

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                self._metrics.commit_wait_seconds = self.seconds
                if self.seconds > LONG_SECONDS:
                    for listener in self._listeners:
                        listener()
                    await self._look()
            except Exception:
                # Else nobody would look again.
                log.exception("commit not looked at")

    async def _look(self) -> None:
        connection = next(iter(self._commits))
        try:
            waits_for = await self._ask(connection.get_server_pid())
        except (*FAILURES, StoreError) as error:
            if not is_lost(error):
                log.warning("cannot ask why a commit takes long", error=text_of(error))
                return
            waits_for = None
        if connection not in self._commits:
            return
        if waits_for is None:
            log.warning("the database has lost the connection of a commit: it is tried again")
            connection.terminate()
        elif waits_for == "SyncRep":
            self._health.refuse(_NO_STANDBY)
        else:
            self._health.refuse(
                f"commits take more than {LONG_SECONDS:.0f} s: wait event {waits_for}"
            )

    async def _ask(self, pid: int) -> str | None:
        """Returns what a process of the server waits for; `None` if there is none."""
        connection = await self._connect(_accept)
        try:
            found: str | None = await connection.fetchval(_WAITS_FOR, pid, timeout=CONNECT_SECONDS)
            return found
        finally:
            await close(connection)


async def _accept(_: Connection) -> None:
    """Any server that takes writes can say what it waits for."""
