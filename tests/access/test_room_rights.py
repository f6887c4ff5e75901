"""Which rooms one sees and may set: the same at the gRPC door and at the WebSocket door."""

import base64
from typing import Any

import pytest

import chat
from gen.chat import (
    ChatMessage,
    ListMembersRequest,
    ListRoomsRequest,
    ListUsersRequest,
    MarkReadRequest,
    Room,
    SetRoomRequest,
)
from tests.access.doors import Doors, refused
from tests.access.signing import Signer


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


def token(signer: Signer, name: str, read: list[str], role: str = "user") -> str:
    rooms = {"read": read, "write": ["*"]}
    return signer.token(kid="one", sub=name, rooms=rooms, role=role)


async def test_room_that_one_may_not_read_is_not_there(
    doors: Doors, door: str, signer: Signer
) -> None:
    async with (
        doors.visit(door, token(signer, "root", ["*"], "admin")) as root,
        doors.visit(door, token(signer, "ada", ["team-*", "lobby"])) as ada,
        doors.visit(door, token(signer, "eve", [])) as eve,
    ):
        for room_id in ("attic", "lobby", "team-a", "team-b"):
            await root.ask(ChatMessage(room_id=room_id, content="hello ada"))
            await root.ask(MarkReadRequest(room_id, 1))

        async def listed(visitor: Any, **asked: Any) -> list[str]:
            answer = await visitor.ask(ListRoomsRequest(**asked))
            return [summary.room.id for summary in answer.rooms]

        readable = ["lobby", "team-a", "team-b"]
        assert await listed(root) == ["attic", *readable]
        assert await listed(ada) == readable
        assert await listed(eve) == []
        assert await listed(ada, room_ids=["attic", "lobby", "team-z"]) == ["lobby", "team-z"]
        assert await listed(ada, query="a") == ["team-a", "team-b"]
        first = await ada.ask(ListRoomsRequest(page_size=1))
        token_ = first.next_page_token
        assert await listed(ada, page_size=1, page_token=token_) == ["team-a"]
        _, told = await refused(ada.ask(ListRoomsRequest(user_id="root")))
        assert told.endswith("user_id: must be the subject of the token, or left out")
        # Of a token that names its rooms, those that are there are listed.
        names = ["team-b", "team-bb", "lobby", "attic*", "z"]
        async with doors.visit(door, token(signer, "bob", names)) as bob:
            assert await listed(bob) == ["attic", "lobby", "team-b"]
            assert await listed(bob, query="TEAM") == ["team-b"]
        # The marks are one's own.
        assert await listed(root, marked=True) == ["attic", *readable]
        assert await listed(ada, marked=True) == []

        members = await ada.ask(ListMembersRequest("team-a"))
        assert [member.user_id for member in members.members] == ["root"]
        for present in (False, True):
            code, told = await refused(ada.ask(ListMembersRequest("attic", present)))
            assert code == "PERMISSION_DENIED"
            assert told.endswith("room_id: the token does not allow to read this room")


async def test_page_token_names_no_room_that_one_may_not_read(
    doors: Doors, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that few rooms take as many looks as thousands.
    monkeypatch.setattr("chat.api.room_calls.LARGEST_PAGE", 2)
    readable = ["a-1", "c-1", "e-1"]
    async with (
        doors.visit("grpc", token(signer, "root", ["*"], "admin")) as root,
        doors.visit("grpc", token(signer, "eve", ["a-*", "c-*", "e-*"])) as eve,
    ):
        for room_id in (*readable, "b-secret", "d-secret", "d-secret-2", "f-secret", "g-secret"):
            await root.ask(SetRoomRequest(Room(room_id, "title")))
        rooms, tokens = [], [""]
        while len(tokens) == 1 or tokens[-1]:
            page = await eve.ask(ListRoomsRequest(query="-", page_token=tokens[-1]))
            rooms += [summary.room.id for summary in page.rooms]
            tokens.append(page.next_page_token)
            assert b"secret" not in base64.urlsafe_b64decode(tokens[-1])
        assert rooms == readable
        assert len(tokens) > 2


async def test_rooms_are_set_by_moderators(doors: Doors, door: str, signer: Signer) -> None:
    async with (
        doors.visit(door, token(signer, "mod", ["team-*"], "moderator")) as mod,
        doors.visit(door, token(signer, "ada", ["*"])) as ada,
    ):
        answer = await mod.ask(SetRoomRequest(Room("team-a", "The A")))
        assert answer.room == Room("team-a", "The A", change=1)
        for visitor, room_id in ((ada, "team-a"), (mod, "attic")):
            code, told = await refused(visitor.ask(SetRoomRequest(Room(room_id, "Mine"))))
            assert code == "PERMISSION_DENIED"
            assert told.endswith("room.id: only a moderator may set a room")
        answer = await ada.ask(ListRoomsRequest())
        assert [summary.room.title for summary in answer.rooms] == ["The A"]


async def test_addresses_of_others_are_not_told(doors: Doors, door: str, signer: Signer) -> None:
    async with doors.visit(door, token(signer, "ada", ["*"])) as ada:
        await ada.ask(ChatMessage(room_id="lobby", content="hello"))
        answer = await ada.ask(ListUsersRequest(user_ids=["ada", "ben"]))
        assert [user.id for user in answer.users] == ["ada"]
