"""Hints by PostgreSQL's own LISTEN and NOTIFY: a bus that needs no other server.

One connection of its own, to the server that takes writes, does both. It must not go through
a pooler of transactions, which would lose what it listens to.

- A NOTIFY in the transaction of an append would make all appends of the database commit one
  after the other: PostgreSQL holds a lock over the commit of a transaction that notifies. So it
  is a transaction of its own, behind the append, which does not wait for the disk or a standby
  (``synchronous_commit`` is off): all that it could lose is a hint.
- A connection that is dead without a word is noticed by the probe (see `hints`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from chat.storage.postgres.connections import Connection, close
from chat.storage.postgres.errors import FAILURES, text_of
from chat.storage.postgres.link import BusDown, Connect, Hear, Link

_PREFIX: Final = "chat_hints_"
_FAST: Final = "SELECT set_config('synchronous_commit', 'off', false)"
_NOTIFY: Final = """
SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS hint (channel, payload)
"""


def notify(connect: Callable[[], Awaitable[Connection]]) -> Connect:
    """Makes links by LISTEN and NOTIFY.

    Args:
        connect: opens a connection to the server that takes writes.
    """

    async def open_link(hear: Hear) -> Link:
        try:
            connection = await connect()
        except FAILURES as error:
            raise BusDown(text_of(error)) from error
        try:
            await connection.execute(_FAST)
        except BaseException:
            connection.terminate()
            raise
        return NotifyLink(connection, hear)

    return open_link


class NotifyLink(Link):
    """A connection that listens and notifies."""

    # Each payload, on whichever channel, wakes all connections that listen to any.
    most_channels = 8
    pause_seconds = 0.003

    def __init__(self, connection: Connection, hear: Hear) -> None:
        self._connection = connection
        self._hear = hear
        self._pid = connection.get_server_pid()
        # It does one thing at a time.
        self._lock = asyncio.Lock()
        self._broken = asyncio.Event()
        connection.add_termination_listener(lambda _: self._broken.set())

    async def subscribe(self, channels: Collection[str]) -> None:
        """See `Link`."""
        async with self._lock:
            for channel in channels:
                await self._connection.add_listener(_PREFIX + channel, self._heard)

    async def unsubscribe(self, channels: Collection[str]) -> None:
        """See `Link`."""
        async with self._lock:
            for channel in channels:
                await self._connection.remove_listener(_PREFIX + channel, self._heard)

    async def publish(self, hints: Sequence[tuple[str, str]]) -> None:
        """See `Link`."""
        channels = [_PREFIX + channel for channel, _ in hints]
        payloads = [payload for _, payload in hints]
        async with self._lock:
            await self._connection.execute(_NOTIFY, channels, payloads)

    async def wait_broken(self) -> None:
        """See `Link`."""
        await self._broken.wait()
        raise BusDown("the connection to the database was lost")

    async def close(self) -> None:
        """See `Link`."""
        await close(self._connection)

    def _heard(self, _connection: object, pid: int, _channel: str, payload: object) -> None:
        # PostgreSQL tells them to who sent them, too.
        self._hear("" if pid == self._pid else str(payload))
