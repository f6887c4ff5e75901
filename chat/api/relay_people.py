"""What a proxy tells of its clients: who types in a room, and who is there.

A proxy names whom its clients named. One that no message could come from is left out alone.
"""

from typing import Final

from chat.api.context import Context
from chat.api.conversation import Conversation
from chat.core.attendance import MOST_NAMES
from chat.core.typists import MOST_TYPISTS
from chat.errors import FailedPrecondition, InvalidArgument
from codec.columns import lengths_of
from gen.chat import RelayRequest, RoomPresence, Typists

# A proxy has no more clients than that.
_MOST_OTHERS: Final = 1_000_000


class RelayPeople:
    """The users of one proxy, in the rooms that it is in."""

    def __init__(self, context: Context, stream: Conversation[RelayRequest]) -> None:
        self._context = context
        self._hub = context.hub
        self._stream = stream

    async def take(self, told: Typists | RoomPresence) -> None:
        """Takes who types in a room, or who is there.

        Raises:
            ChatError: it breaks a rule.
        """
        if isinstance(told, Typists):
            await self._take_typists(told)
        else:
            await self._take_presence(told)

    async def _take_typists(self, typists: Typists) -> None:
        self._check_number("typists.others", typists.others, _MOST_OTHERS)
        typists.user_ids = await self._checked("typists", typists, MOST_TYPISTS)
        self._hub.typing.told(self._stream, typists)

    async def _take_presence(self, presence: RoomPresence) -> None:
        self._check_number("room_presence.count", presence.count, _MOST_OTHERS)
        if presence.count < len(presence.user_ids):
            raise InvalidArgument("room_presence.count", "must be at least as many as are named")
        presence.user_ids = await self._checked("room_presence", presence, MOST_NAMES)
        self._hub.present.told(self._stream, presence)

    def _check_number(self, path: str, number: int, most: int) -> None:
        if number > most:
            raise InvalidArgument(path, f"must be at most {most}")

    async def _checked(self, path: str, told: Typists | RoomPresence, most: int) -> list[str]:
        """Checks the room; returns those users that may be named."""
        rules, room_id, user_ids = self._context.rules, told.room_id, told.user_ids
        rules.identifier(room_id, f"{path}.room_id")
        if len(user_ids) > most:
            raise InvalidArgument(f"{path}.user_ids", f"must be at most {most}")
        if user_ids and not rules.are_ids("".join(user_ids), lengths_of(user_ids)):
            user_ids = [each for each in user_ids if await self._may_be_named(each)]
        # At last: it may have been left in a wait.
        if room_id not in self._stream.rooms:
            raise FailedPrecondition(f"{path}.room_id: is not joined")
        return list(dict.fromkeys(user_ids))

    async def _may_be_named(self, user_id: str) -> bool:
        try:
            self._context.rules.identifier(user_id, "user_ids")
            await self._context.legacy_ids.check_user(user_id, "user_ids")
        except InvalidArgument:
            return False
        return True
