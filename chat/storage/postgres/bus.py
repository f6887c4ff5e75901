"""Which bus carries hints, by the setting `hints`."""

from collections.abc import Awaitable, Callable

from chat.storage.base import StoreUnusable
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.hints import Connect
from chat.storage.postgres.notify import notify


def choose_bus(url: str, connect: Callable[[], Awaitable[Connection]]) -> Connect:
    """Returns what makes links to a bus.

    Args:
        url: of a Valkey; empty for the database itself.
        connect: opens a connection to the server of the database that takes writes.

    Raises:
        StoreUnusable: the bus cannot be used.
    """
    if url:
        raise StoreUnusable("hints by another bus are not there yet")
    return notify(connect)
