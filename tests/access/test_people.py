"""Whom a client with a token is there for, and where it may say that it types."""

from typing import Any, Final

import pytest

from gen.chat import Join, JoinFollow, RoomPresence, Typing, Typists
from tests.access.doors import Doors, Refused
from tests.access.signing import Signer

FOLLOW: Final[list[Any]] = [JoinFollow.PRESENCE, JoinFollow.TYPING]
ROOMS: Final = {"read": ["lobby", "quiet"], "write": ["lobby"]}


async def test_typing_needs_the_right_to_write(doors: Doors, door: str, signer: Signer) -> None:
    async with doors.visit(door, signer.token(kid="one", rooms=ROOMS)) as ada:
        for room_id in ("lobby", "quiet"):
            await ada.ask(Join(room_id, follow=FOLLOW))
            # The subject of the token is there, although it named nobody.
            assert await ada.hear() == RoomPresence(room_id, 1, ["ada"])
        for typing, text in (
            (Typing("quiet"), "typing.room_id: the token does not allow to send to this room"),
            (Typing("lobby", "ben"), "typing.user_id: must be the subject of the token"),
        ):
            with pytest.raises(Refused, match=f"PERMISSION_DENIED: {text}"):
                await ada.ask(typing)
        await ada.tell(Typing("lobby"))
        assert await ada.hear() == Typists("lobby", ["ada"], 0, 6000)


async def test_presence_needs_the_right_to_read(doors: Doors, door: str, signer: Signer) -> None:
    rooms = {"read": [], "write": ["lobby"]}
    async with doors.visit(door, signer.token(kid="one", rooms=rooms)) as ada:
        with pytest.raises(Refused, match=r"PERMISSION_DENIED: join\.room_id"):
            await ada.ask(Join("lobby", follow=FOLLOW))
