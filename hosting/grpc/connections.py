"""The connections of a server, and the marks that a call may set on its own.

A connection is proven (see `hosting.places`) when its client has shown that it speaks HTTP/2;
on a server that authenticates, when a caller on it has been authenticated. So clients without
a token keep nobody out who has one.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

from grpclib.server import Stream

from hosting.grpc.allowances import Allowances, ConnectionAllowance
from hosting.grpc.http2_limits import GuardedH2
from hosting.grpc.limits import ConnectionLimits
from hosting.grpc.streams import DataStreams
from hosting.places import Abortable, Places


class ClientConnection(Abortable, Protocol):
    """A client's connection, as `Connections` lists it.

    Attributes:
        address: the key under which its client's connections are counted.
        allowance: limits the work it may cause.
    """

    address: str
    allowance: ConnectionAllowance

    @property
    def has_more(self) -> bool:
        """Whether frames have come that had no turn yet."""

    async def go_away(self) -> None:
        """Says GOAWAY and closes."""


class Connections:
    """The open connections of a server.

    Args:
        limits: their bounds.
        authenticates: whether only an authenticated caller proves a connection.

    Attributes:
        allowances: limit the work that clients may cause.
        opened: the number of connections that were given a place.
        refused: the number that were not, for want of a place or of allowance.
        calls_refused: the number of calls refused before their caller was authenticated.
    """

    def __init__(self, limits: ConnectionLimits, *, authenticates: bool = False) -> None:
        self.limits = limits
        self.allowances = Allowances(limits.calls_per_address)
        self.opened = self.refused = self.calls_refused = 0
        self._authenticates = authenticates
        self._places: Places[ClientConnection] = Places(
            limits.connections, limits.connections_per_address
        )

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def try_add(self, connection: ClientConnection) -> bool:
        """Adds a connection, if need be in the place of an unproven one."""
        has_place = connection.allowance.take_connection() and self._places.try_add(
            connection, connection.address
        )
        if has_place:
            self.opened += 1
        else:
            self.refused += 1
        return has_place

    def discard(self, connection: ClientConnection) -> None:
        """Removes a connection that has ended."""
        self._places.discard(connection)

    def greeted(self, connection: ClientConnection) -> None:
        """Notes that a client has shown that it speaks HTTP/2."""
        if not self._authenticates:
            self._places.prove(connection)

    def authenticated(self, connection: ClientConnection) -> None:
        """Notes that a caller on a connection has been authenticated."""
        self._places.prove(connection)


class ServerConnection(DataStreams):
    """grpclib's connection, as calls have it.

    Attributes:
        take_call: takes a call out of the client's allowance; returns 0, or after how
            many seconds to try again.
        authenticated: is called with each authenticated caller.
        exempt: is called when the client is a proxy.
        expel: ends the connection.
    """

    take_call: Callable[[], float]
    authenticated: Callable[[], None]
    exempt: Callable[[], None]
    expel: Callable[[], None]

    def close(self) -> None:
        """See grpclib."""
        super().close()
        cast(GuardedH2, self._connection).discard()


def connection_of(call: Stream[Any, Any]) -> object:
    """Returns the connection of a call: the same object for all calls on it."""
    return call._stream.connection  # noqa: SLF001 - grpclib tells no other name of it


def mark_authenticated(call: Stream[Any, Any]) -> None:
    """Marks the connection of a call as one with an authenticated caller."""
    if isinstance(connection := connection_of(call), ServerConnection):
        connection.authenticated()


def lift_connection_limits(call: Stream[Any, Any]) -> None:
    """Marks the connection of a call as a proxy's: its calls are those of many clients."""
    if isinstance(connection := connection_of(call), ServerConnection):
        connection.exempt()


def expel(call: Stream[Any, Any]) -> None:
    """Ends the connection of a call, whose client asks too much, once the call is answered."""
    if isinstance(connection := connection_of(call), ServerConnection):
        asyncio.get_running_loop().call_soon(connection.expel)
