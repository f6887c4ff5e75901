"""Which bus carries hints, by the setting `hints`."""

from collections.abc import Awaitable, Callable

from chat.storage.base import StoreUnusable
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.link import Connect
from chat.storage.postgres.notify import notify
from chat.storage.postgres.valkey_address import ValkeyAddress


def choose_bus(
    address: ValkeyAddress | None, connect: Callable[[], Awaitable[Connection]]
) -> Connect:
    """Returns what makes links to a bus.

    Args:
        address: of a Valkey; `None` for the database itself.
        connect: opens a connection to the server of the database that takes writes.

    Raises:
        StoreUnusable: the bus cannot be used.
    """
    if address is None:
        return notify(connect)
    try:
        # What it needs need not be installed.
        from chat.storage.postgres.valkey import valkey
    except ModuleNotFoundError as error:
        raise StoreUnusable(
            f"hints by Valkey need the extra of this package that brings {error.name}: "
            'pip install "asyncio-grpc-chat[valkey]"'
        ) from error
    return valkey(address)
