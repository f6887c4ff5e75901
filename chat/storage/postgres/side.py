"""The connection beside the writer's, for what need not survive: heartbeats, presence, quotas.

Its commits wait for no disk and no standby, so that it answers when a commit of the writer
hangs in a standby. It is what notices a server that died without a word: an append has no time
limit, but whoever does not answer here may be gone (see `suspicions`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from chat.storage.base import StoreError, Unanswered, Unstorable
from chat.storage.postgres.errors import FAILURES, is_lost, is_of_a_value, text_of

if TYPE_CHECKING:
    import asyncpg

    from chat.storage.postgres.connections import Connection

SILENT_SECONDS: Final = 3.0
"""After so long without an answer a server may be gone."""


class SideConnection:
    """One connection, opened when it is needed, and used by one at a time.

    Args:
        connect: opens a connection to the server that takes writes.
        on_silent: is called when a server did not answer in time.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], on_silent: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._on_silent = on_silent
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Executes a statement.

        Raises:
            Unstorable: an argument is at fault.
            Unanswered: it was perhaps executed.
            StoreError: it was not executed.
        """
        async with self._turn:
            try:
                return await self._fetch(statement, arguments)
            except FAILURES as error:
                kind = Unstorable if is_of_a_value(error) else StoreError
                raise kind(text_of(error)) from error

    async def close(self) -> None:
        """Closes it, after what is under way."""
        async with self._turn:
            if self._connection is not None:
                self._connection.terminate()

    async def _fetch(self, statement: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
        connection = await self._ready()
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                return await connection.fetch(statement, *arguments)
        except TimeoutError as error:
            connection.terminate()
            self._on_silent()
            raise Unanswered(text_of(error)) from error
        except FAILURES as error:
            if not is_lost(error):
                raise
            connection.terminate()
            raise Unanswered(text_of(error)) from error
        except BaseException:
            # It may still be running.
            connection.terminate()
            raise

    async def _ready(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await self._connect()
            try:
                await connection.execute("SET synchronous_commit = off", timeout=SILENT_SECONDS)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection
