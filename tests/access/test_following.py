"""Whom a client with a token may follow as: the same at both doors."""

import pytest

from gen.chat import ChatMessage, Join, JoinFollow, Mark, MarkReadRequest
from tests.access.doors import Doors, Refused
from tests.access.signing import Signer

READS = JoinFollow(JoinFollow.READS)


async def test_marks_are_told_to_the_subject(doors: Doors, door: str, signer: Signer) -> None:
    async with (
        doors.visit(door, signer.token(kid="one")) as ada,
        doors.visit(door, signer.token(kid="one")) as same,
    ):
        await ada.ask(ChatMessage(room_id="lobby", content="hello"))
        with pytest.raises(Refused, match=r"PERMISSION_DENIED: join.user_id: must be the subject"):
            await same.ask(Join("lobby", follow=[READS], user_id="bob"))
        # Neither has it sent, nor does it say who it is.
        await same.ask(Join("lobby", follow=[READS]))
        await ada.ask(MarkReadRequest("lobby", 1))
        told = await same.hear()
        assert told == Mark("lobby", 1)
