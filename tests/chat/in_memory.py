"""The context of a server whose history ends with it, and of one with another store."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import chat
from chat.access.authenticator import Authenticator
from chat.api.context import Context
from chat.core.hub import Hub
from chat.core.paces import Paces
from chat.storage.base import Store
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore

T = TypeVar("T", bound=Store)


async def in_memory(
    config: chat.Config | None = None,
    authenticator: Authenticator | None = None,
    paces: Paces | None = None,
) -> Context:
    """Makes one, whose store announces to its hub."""
    hub = await Hub.open(_open_store, paces=paces)
    config = config or chat.Config(database=chat.IN_MEMORY)
    return Context.of(config, authenticator or Authenticator(), hub)


async def _open_store(listener: Listener) -> MemoryStore:
    return MemoryStore(listener)


async def with_store(
    make: Callable[[Listener], T | Awaitable[T]], paces: Paces | None = None
) -> tuple[Context, T]:
    """Makes the context of a server, and its store.

    Args:
        make: makes the store, which announces to the listener.
        paces: those of the hub, if not the usual ones.
    """
    stores: list[T] = []

    async def open_store(listener: Listener) -> T:
        made = make(listener)
        stores.append(await made if isinstance(made, Awaitable) else made)
        return stores[0]

    hub = await Hub.open(open_store, paces=paces)
    return Context.of(chat.Config(database=chat.IN_MEMORY), Authenticator(), hub), stores[0]
