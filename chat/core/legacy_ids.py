"""Ids stored before today's rules remain valid; asks the store whether such an id exists.

The store is asked only about ids that no new user or room may have, and each that exists is
remembered.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from chat.core.names import id_fault, name_fault
from chat.core.store_errors import or_unavailable
from chat.errors import InvalidArgument
from chat.storage.base import Store
from gen.chat import ChatMessage

_MOST: Final = 1000


class LegacyIds:
    """Asks whether a user or a room of such an id exists.

    Each method raises `InvalidArgument`, whose text begins with the path, and
    `Unavailable` where the store cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # Nobody is ever forgotten by the store. The oldest first.
        self._remembered: dict[tuple[str, str], None] = {}

    async def check_message(self, message: ChatMessage) -> None:
        """Checks the room and the sender of a message."""
        await self.check_room(message.room_id, "chat_message.room_id")
        await self.check_user(message.sender_id, "chat_message.sender_id")

    async def check_room(self, room_id: str, path: str) -> None:
        """Checks a room: one without messages is new."""
        await self._check(room_id, path, "room", lambda: self._store.last_seq(room_id))

    async def check_user(self, user_id: str, path: str) -> None:
        """Checks a user."""
        await self._check(user_id, path, "user", lambda: self._store.get_user(user_id))

    async def check_name(self, user_id: str, name: str, path: str) -> None:
        """Checks the name that a user is given: it may be the one that it has."""
        fault = name_fault(name)
        if not fault:
            return
        user = await or_unavailable(self._store.get_user(user_id))
        if user is None or user.name != name:
            raise InvalidArgument(path, fault)

    async def _check(
        self, value: str, path: str, kind: str, find: Callable[[], Awaitable[object]]
    ) -> None:
        fault = id_fault(value)
        if not fault or (kind, value) in self._remembered:
            return
        if not await or_unavailable(find()):
            raise InvalidArgument(path, fault)
        if len(self._remembered) >= _MOST:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[kind, value] = None
