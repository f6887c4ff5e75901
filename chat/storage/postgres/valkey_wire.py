"""One connection to a Valkey or Redis.

Of the library, redis-py, only the connection is used: TLS, login, and the protocol. It is one
that still is maintained for asyncio, has types, and works with Valkey as with Redis. (valkey-py
knows no sharded subscriptions in asyncio; coredis none without a cluster, and it brings a
dozen packages.) Its own class for subscriptions connects again by itself, and does not tell
that something was missed meanwhile; that for clusters asks one server after the other.
"""

import asyncio
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, Final

from redis.asyncio import Connection, SSLConnection
from redis.exceptions import AuthenticationError, RedisError

from chat.storage.base import StoreUnusable
from chat.storage.postgres.link import BusDown
from chat.storage.postgres.valkey_address import Server, ValkeyAddress

CONNECT_SECONDS: Final = 2.0
"""How long a server may take to answer a login."""


class Wire:
    """A connection; made by `open`. Its methods raise `BusDown`, and it is of no use then."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, address: ValkeyAddress, server: Server) -> "Wire":
        """Connects to one of the servers, and logs in."""
        try:
            wire = cls(_make(address, server))
        except (OSError, StoreUnusable) as error:  # of the file with the password
            raise BusDown(f"the server of hints: {error}") from error
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await wire._connection.connect()  # type: ignore[no-untyped-call] # the library's
        except (RedisError, OSError) as error:
            await wire.close()
            raise _down(error) from error
        return wire

    async def send(self, *words: str) -> None:
        """Sends a command; `read` brings its answer."""
        try:
            await self._connection.send_command(*words)
        except (RedisError, OSError) as error:
            raise _down(error) from error

    async def read(self) -> Any:
        """Waits for an answer, or for whatever the server says by itself."""
        try:
            return await self._connection.read_response(timeout=inf)
        except (RedisError, OSError) as error:
            raise _down(error) from error

    async def execute(self, *commands: Sequence[str]) -> list[Any]:
        """Executes commands in one round trip; returns their answers."""
        try:
            await self._connection.send_packed_command(self._pack(commands))
        except (RedisError, OSError) as error:
            raise _down(error) from error
        return [await self.read() for _ in commands]

    async def close(self) -> None:
        """Closes it at once."""
        await self._connection.disconnect(nowait=True)

    def _pack(self, commands: Sequence[Sequence[str]]) -> Iterable[bytes]:
        return self._connection.pack_commands(commands)


def _make(address: ValkeyAddress, server: Server) -> Connection:
    # Callers bound the time. With a time limit of its own, the library would wait in a way
    # that may lose a cancellation, before Python 3.12.
    host, port = server
    user, password = address.user or None, address.password() or None
    if address.has_tls:
        return SSLConnection(
            host=host, port=port, username=user, password=password, protocol=2,
            socket_connect_timeout=CONNECT_SECONDS, socket_timeout=None, socket_keepalive=True,
            ssl_ca_certs=address.authorities or None,
        )  # fmt: skip
    return Connection(
        host=host, port=port, username=user, password=password, protocol=2,
        socket_connect_timeout=CONNECT_SECONDS, socket_timeout=None, socket_keepalive=True,
    )  # fmt: skip


def _down(error: Exception) -> BusDown:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AuthenticationError):
        return BusDown(f"the server of hints refuses user or password: {text}")
    if "unknown command" in text.lower():
        return BusDown(
            "the server of hints knows no sharded publish and subscribe: it must be a Valkey, or a "
            f"Redis 7 or later: {text}"
        )
    return BusDown(f"the server of hints: {text}")
