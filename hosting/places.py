"""A bounded number of connections, of which an unproven one makes room for the next: no I/O."""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Abortable(Hashable, Protocol):
    """A connection that can be ended at once."""

    def abort(self) -> None:
        """Ends it without a word."""


Connection = TypeVar("Connection", bound=Hashable)
Abortee = TypeVar("Abortee", bound=Abortable)


class Places(Generic[Abortee]):
    """The connections that are open, and room for the next one.

    A connection is unproven until `prove` is called for it: until its client speaks the
    protocol, say, or has been authenticated. When all places are taken, the oldest unproven
    connection is aborted. So clients that prove nothing keep nobody out who does.

    Args:
        limit: the largest number of connections.
        per_address: the largest number from one address; 0 for no limit.
    """

    def __init__(self, limit: int, per_address: int = 0) -> None:
        self._limit = limit
        self._per_address = per_address
        self._open: dict[Abortee, str] = {}
        self._addresses: Counter[str] = Counter()
        self._unproven: _OldestFirst[Abortee] = _OldestFirst()

    def __iter__(self) -> Iterator[Abortee]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def try_add(self, connection: Abortee, address: str = "") -> bool:
        """Adds a connection, if need be in the place of an unproven one.

        Args:
            connection: one that was not added yet.
            address: the key under which its client's connections are counted.

        Returns:
            False if there is no place for it.
        """
        if self._per_address and self._addresses[address] >= self._per_address:
            has_room = self._evict(self._unproven.oldest(address))
        else:
            has_room = len(self._open) < self._limit or self._evict(self._unproven.oldest())
        if has_room:
            self._open[connection] = address
            self._unproven.add(connection, address)
            self._addresses[address] += 1
        return has_room

    def prove(self, connection: Abortee) -> None:
        """Lets a connection keep its place."""
        self._unproven.discard(connection)

    def discard(self, connection: Abortee) -> None:
        """Removes a connection that has ended. Nothing happens if it has no place."""
        address = self._open.pop(connection, None)
        if address is None:
            return
        self._unproven.discard(connection)
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def _evict(self, connection: Abortee | None) -> bool:
        if connection is None:
            return False
        self.discard(connection)
        connection.abort()
        return True


class _OldestFirst(Generic[Connection]):
    """Connections by age, of all addresses and of each.

    To find the oldest costs the same, however many there are. They go in any order, mostly
    from the front, where a plain dict would look again and again at all slots left empty.
    """

    def __init__(self) -> None:
        self._all: OrderedDict[Connection, str] = OrderedDict()
        self._by_address: dict[str, OrderedDict[Connection, None]] = {}

    def add(self, connection: Connection, address: str = "") -> None:
        """Adds one that is not among them."""
        self._all[connection] = address
        self._by_address.setdefault(address, OrderedDict())[connection] = None

    def discard(self, connection: Connection) -> None:
        """Removes one. Nothing happens if it is not among them."""
        address = self._all.pop(connection, None)
        if address is None:
            return
        neighbours = self._by_address[address]
        del neighbours[connection]
        if not neighbours:
            del self._by_address[address]

    def oldest(self, address: str | None = None) -> Connection | None:
        """Returns the oldest, of all or of one address."""
        found = self._all if address is None else self._by_address.get(address, ())
        return next(iter(found), None)
