"""Connections that are kept: a few for readers, and one after the other for whoever writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from chat.storage.base import StoreError
from chat.storage.postgres.connections import Connection, close
from chat.storage.postgres.errors import FAILURES, is_lost, text_of

_READERS: Final = 4


class ReaderPool:
    """A few connections for statements that only read, each used by one at a time.

    Args:
        connect: opens one, which may be used at once.
        most: how many there are at most.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], most: int = _READERS) -> None:
        self._connect = connect
        self._idle: list[Connection] = []
        self._in_use: set[Connection] = set()
        self._places = asyncio.Semaphore(most)
        # How often all were dropped.
        self._ended = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Takes a connection; one whose statement failed by the connection is dropped.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError: there is none.
        """
        async with self._places:
            connection = self._take() or await self._open()
            self._in_use.add(connection)
            try:
                yield connection
            except asyncpg.PostgresError as error:
                if is_lost(error):
                    connection.terminate()
                raise
            except BaseException:
                # A statement that was given up may still be running.
                connection.terminate()
                raise
            finally:
                self._in_use.discard(connection)
                if not connection.is_closed():
                    self._idle.append(connection)

    def terminate(self) -> None:
        """Drops all connections: what is read over them fails."""
        self._ended += 1
        for connection in (*self._idle, *self._in_use):
            connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
        """Closes all connections that are not in use."""
        while self._idle:
            await close(self._idle.pop())

    async def _open(self) -> Connection:
        while True:
            ended = self._ended
            connection = await self._connect()
            if ended == self._ended:
                return connection
            connection.terminate()  # it leads where the others led

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None


class Opening:
    """A connection on its way, for one who needs one after the other.

    One may wait for a standby for as long as that takes (see `admission`). Whoever loses
    patience leaves it to the next one: to begin anew each time would leave ever more
    sessions waiting at the server.

    Args:
        connect: opens a connection whose history was judged.

    Attributes:
        gave_up: whether no connection is wanted any more.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self.gave_up = False
        self._connect = connect
        self._connecting: asyncio.Future[Connection] | None = None

    async def get(self, patience: float) -> Connection:
        """Returns a new connection.

        Args:
            patience: how long it is waited for, in seconds.

        Raises:
            ConnectionError: there is none; whatever the reason is, it may pass.
        """
        if self.gave_up:
            raise ConnectionError("the server stops")
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._connect())
        if not (await asyncio.wait({self._connecting}, timeout=patience))[0]:
            raise ConnectionError("the database confirms nothing over a new connection")
        connecting, self._connecting = self._connecting, None
        if connecting.cancelled():
            raise ConnectionError("the server stops")
        try:
            return connecting.result()
        except (*FAILURES, StoreError) as error:
            # A server that starts, a standby to be promoted.
            raise ConnectionError(text_of(error)) from error

    def give_up(self) -> None:
        """Opens no connection any more."""
        self.gave_up = True
        if self._connecting is not None:
            self._connecting.cancel()

    async def close(self) -> None:
        """Drops the one that is on its way."""
        if self._connecting is not None:
            self._connecting.cancel()
            for result in await asyncio.gather(self._connecting, return_exceptions=True):
                if not isinstance(result, BaseException):
                    result.terminate()
