"""The context of a server whose history ends with it."""

import chat
from chat.access.authenticator import Authenticator
from chat.api.context import Context
from chat.core.hub import Hub
from chat.core.paces import Paces
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore


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
