"""Connections that may have to make room for the next one, the oldest first: no I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Connection = TypeVar("Connection", bound=Hashable)


class Strangers(Generic[Connection]):
    """Them, by their addresses too: to find the oldest costs the same, however many there are.

    They go in any order, mostly from the front, where a plain dict would look again and
    again at all places that were left empty.
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
