"""Connections to the server that takes writes.

Each connection is one of this program's own session: what a role or database sets by default
must not change what a commit or a statement means (see `_SETTINGS`). It is admitted before it
is used: a server may be another one than before, with another history (see `admission`).

Of several hosts the next is tried when one fails, or has not answered for a moment: a machine
that is off says nothing at all. So the first that takes writes wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias, TypeVar

import asyncpg

from chat.storage.base import StoreError
from chat.storage.postgres.address import Address
from chat.storage.postgres.errors import FAILURES

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

T = TypeVar("T")

Admit = Callable[[Connection], Awaitable[None]]
"""Looks whether a new connection may be used; raises one of `FAILURES` or `StoreError` if not."""

CONNECT_SECONDS: Final = 5.0
"""How long a host may take to answer a login."""
READ_SECONDS: Final = 10.0
"""How long a statement that only reads may take, with the wait for a connection."""
_NEXT_HOST_SECONDS: Final = 0.5
# How long all of them may take to answer where one answer is not enough.
_ALL_SECONDS: Final = 2.0

_SETTINGS: Final = {
    # Each statement sees what was committed before it: `append` relies on it.
    "default_transaction_isolation": "read committed",
    # A commit that waits for its standby, or an append for a lock, is not to be cut off.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # Nor is one that nobody needs just now, or has not used yet.
    "idle_session_timeout": "0",
    # Names are qualified; nobody's functions come in between.
    "search_path": "pg_catalog",
    # Each statement is a look-up by an index, and planned once, perhaps while tables are empty.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    # Statements of a millisecond; the number of partitions makes them look dear.
    "jit": "off",
    # The server drops a node that vanished without a word.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
# What was acknowledged must survive the server; a stronger or weaker wait for standbys is
# for the operator to choose.
_DURABLE: Final = """
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""


class Connector:
    """Opens connections.

    Args:
        address: of the database.
        name: of this node, for the server's lists of sessions.

    Attributes:
        name: the same.
    """

    def __init__(self, address: Address, name: str) -> None:
        self._address = address
        self.name = name

    async def connect(self, admit: Admit) -> Connection:
        """Opens a connection to the server that takes writes.

        Args:
            admit: looks at it; where it refuses one, the next host is tried.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError: there is none.
        """
        hosts: Sequence[tuple[str, int] | None] = self._address.hosts or [None]
        return await _first_of([partial(self._open, host, admit) for host in hosts])

    async def ask_all(self, ask: Callable[[Connection], Awaitable[T]]) -> list[T]:
        """Asks each server that takes writes; returns the answers that come soon."""
        found: list[T] = []

        async def ask_one(connection: Connection) -> None:
            found.append(await ask(connection))

        if len(self._address.hosts) > 1:
            tasks = [
                asyncio.ensure_future(self._open(host, ask_one)) for host in self._address.hosts
            ]
            await asyncio.wait(tasks, timeout=_ALL_SECONDS)
            await _abandon(tasks)
        return found

    async def _open(self, host: tuple[str, int] | None, admit: Admit) -> Connection:
        connection = await self._connect(host)
        try:
            await connection.execute(_DURABLE, timeout=CONNECT_SECONDS)
            await admit(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _connect(self, host: tuple[str, int] | None) -> Connection:
        name, port = host or (None, None)
        password = self._address.password() if self._address.password_file else None
        try:
            return await asyncpg.connect(
                self._address.url,
                host=name,
                port=port,
                password=password,
                timeout=CONNECT_SECONDS,
                # Else an application name in the URL would be the name of all nodes.
                server_settings={**_SETTINGS, "application_name": self.name},
            )
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            if isinstance(error, FAILURES):
                raise
            # It may quote a part of the URL.
            raise StoreError("the URL of the database has a parameter of a wrong value") from None


async def close(connection: Connection) -> None:
    """Closes a connection in an orderly way, or at once if the server does not answer."""
    try:
        await connection.close(timeout=CONNECT_SECONDS)
    except FAILURES:
        connection.terminate()


async def _first_of(attempts: Sequence[Callable[[], Awaitable[Connection]]]) -> Connection:
    """Returns the first connection that can be had; begins the next attempt when one lingers.

    Raises:
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError: no attempt
            succeeded; what the last one that answered said.
    """
    tasks: list[asyncio.Future[Connection]] = []
    try:
        for attempt in attempts:
            tasks.append(asyncio.ensure_future(attempt()))
            patience = None if len(tasks) == len(attempts) else _NEXT_HOST_SECONDS
            pending = {task for task in tasks if not task.done()}
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if _error_of(task) is None:
                        return tasks.pop(tasks.index(task)).result()
                if patience is not None:
                    break  # one failed, or none has answered: to the next host
        raise _most_telling([error for task in tasks if (error := _error_of(task))])
    finally:
        await _abandon(tasks)


def _error_of(task: asyncio.Future[Connection]) -> BaseException | None:
    return ConnectionError("the attempt was cut off") if task.cancelled() else task.exception()


def _most_telling(errors: Sequence[BaseException]) -> BaseException:
    """Returns what a server said, if one said anything, rather than that there is none."""
    return next((error for error in errors if not isinstance(error, OSError)), errors[-1])


async def _abandon(tasks: Sequence[asyncio.Future[Connection]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(result, BaseException):
            result.terminate()
