"""`ListRooms`, `SetRoom`, `ListMembers` over a real connection, without keys."""

from typing import Any

import pytest

import chat
from chat.core.page_tokens import page_token
from gen.chat import (
    ChatServiceStub,
    GetChangesRequest,
    ListMembersRequest,
    ListRoomsRequest,
    ListRoomsResponse,
    ListUsersRequest,
    Mark,
    MarkReadRequest,
    Member,
    MessageExtra,
    Room,
    RoomSummary,
    SetRoomRequest,
    UpsertUserRequest,
)
from tests.chat.in_memory import in_memory
from tests.chat.served import served
from tests.support import ChatCall, message, refusal

ANOTHER_PAGE = (
    "INVALID_ARGUMENT: page_token: must be the next_page_token of an answer to the same request, "
    "or empty"
)


class NoUnicode(str):
    """An id of a token that somebody made up: anybody can work out its check."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002
        return b"\xff"


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY, rates=chat.Rates())


async def set_room(
    stub: ChatServiceStub, room_id: str, title: str = "", topic: str = "", **more: Any
) -> Room:
    request = SetRoomRequest(Room(room_id, title, topic), **more)
    return (await stub.set_room(request)).room


async def listed(stub: ChatServiceStub, **asked: Any) -> list[RoomSummary]:
    """The rooms of all pages."""
    rooms: list[RoomSummary] = []
    page = ListRoomsResponse(next_page_token="")
    while True:
        request = ListRoomsRequest(page_token=page.next_page_token, **asked)
        page = await stub.list_rooms(request)
        rooms += page.rooms
        if not page.next_page_token:
            return rooms


def ids(rooms: list[RoomSummary]) -> list[str]:
    return [summary.room.id for summary in rooms]


async def test_room_that_was_set(stub: ChatServiceStub) -> None:
    room = await set_room(stub, "room", "Title", "One line\nand another 🦊", if_change=0)
    assert room == Room("room", "Title", "One line\nand another 🦊", 1)
    assert await set_room(stub, "room", room.title, room.topic, if_change=0) == room
    page = await stub.get_changes(GetChangesRequest("room"))
    assert (page.changes.room, page.changes.last_change, page.changes.messages) == (room, 1, [])
    [summary] = await listed(stub)
    assert summary == RoomSummary(room=room)
    assert not summary.is_set("last_message")
    assert not summary.is_set("mark")
    told = await refusal(set_room(stub, "room", "Other", if_change=0))
    assert told == "FAILED_PRECONDITION: if_change: the room has change 1, not 0"
    # What is left out is empty from now on; the number that a client names is of no account.
    answer = await stub.set_room(SetRoomRequest(Room("room", "Other", change=77)))
    assert answer.room == Room("room", "Other", "", 2)


async def test_list_shows_what_is_unread(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        for number in (1, 2, 3):
            sent = message("room", f"text {number}", key=str(number))
            sent.extra = MessageExtra(mentions=["ben"])
            await call.post(sent)
        await call.post(message("attic", key="1"))
    await stub.mark_read(MarkReadRequest("room", 1, "ben"))
    attic, room = await listed(stub, user_id="ben")
    assert (attic.room, attic.last_seq, attic.members) == (Room("attic"), 1, 0)
    assert not attic.is_set("mark")
    assert (room.room, room.last_seq, room.mark) == (Room("room"), 3, Mark("room", 1, 2))
    assert (room.last_message.content, room.members) == ("text 3", 1)
    [_, unmarked] = await listed(stub)
    assert not unmarked.is_set("mark")
    assert ids(await listed(stub, user_id="ben", marked=True)) == ["room"]
    named = ["room", "unknown", "attic"]
    assert ids(await listed(stub, room_ids=named)) == ["attic", "room", "unknown"]
    assert ids(await listed(stub, room_ids=named, user_id="ben", marked=True)) == ["room"]
    assert ids(await listed(stub, room_ids=named, query="ROO")) == ["room"]
    members = await stub.list_members(ListMembersRequest("room"))
    assert (members.members, members.next_page_token) == ([Member("ben")], "")


async def test_pages(stub: ChatServiceStub) -> None:
    names = [f"r{number:03}" for number in range(60)]
    async with ChatCall(stub) as call:
        for name in names:
            await call.post(message(name, key="1"))
    for user_id in ("a", "b", "c"):
        await stub.mark_read(MarkReadRequest("r000", 1, user_id))
    page = await stub.list_rooms(ListRoomsRequest())
    assert ids(page.rooms) == names[:50]
    page = await stub.list_rooms(ListRoomsRequest(page_token=page.next_page_token))
    assert (ids(page.rooms), page.next_page_token) == (names[50:], "")
    for size in (7, 20, 60, 500):
        assert ids(await listed(stub, page_size=size)) == names
        assert ids(await listed(stub, page_size=size, room_ids=names[::-1])) == names
    last = await stub.list_rooms(ListRoomsRequest(page_size=60))
    assert last.next_page_token == ""
    assert ids(await listed(stub, page_size=1, query="R01")) == names[10:20]
    first = await stub.list_members(ListMembersRequest("r000", page_size=2))
    assert [member.user_id for member in first.members] == ["a", "b"]
    more = ListMembersRequest("r000", page_size=2, page_token=first.next_page_token)
    assert (await stub.list_members(more)).members == [Member("c")]
    # A token is of its own request.
    token = page.next_page_token or (await stub.list_rooms(ListRoomsRequest())).next_page_token
    for asked in ({"query": "r"}, {"user_id": "a"}, {"room_ids": ["r000"]}):
        request = ListRoomsRequest(page_token=token, **asked)
        assert await refusal(stub.list_rooms(request)) == ANOTHER_PAGE
    question = ("", "False", "")
    for wrong in (
        "x",
        "é",
        first.next_page_token,
        page_token(question, ("r", 0))[:-4],
        page_token(question, ("\0", 0)),
        page_token(question, (NoUnicode("r"), 0)),
    ):
        assert await refusal(stub.list_rooms(ListRoomsRequest(page_token=wrong))) == ANOTHER_PAGE
    more.present = True
    assert await refusal(stub.list_members(more)) == ANOTHER_PAGE


async def test_page_ends_before_it_is_too_large(stub: ChatServiceStub) -> None:
    names = [f"r{number:03}" for number in range(80)]
    async with ChatCall(stub) as call:
        for name in names:
            await call.post(message(name, "x" * 16_000, key="1"))
    page = await stub.list_rooms(ListRoomsRequest(page_size=500))
    assert 20 < len(page.rooms) < 40
    assert ids(await listed(stub, page_size=500)) == names


async def test_rooms_that_are_refused(stub: ChatServiceStub) -> None:
    for room, told in [
        (Room(), "room.id: must not be empty"),
        (Room("x" * 65), "room.id: must have at most 64 characters"),
        (Room("a\u200bb"), "room.id: must not contain invisible characters"),
        (Room("r", "x" * 65), "room.title: must have at most 64 characters"),
        (Room("r", "two\nlines"), "room.title: must not contain control characters"),
        (Room("r", " x"), "room.title: must not begin or end with a space"),
        (
            Room("r", "\u202eevil"),
            "room.title: must not contain characters that turn the direction of text",
        ),
        (Room("r", "", "é" * 513), "room.topic: must have at most 1024 bytes of UTF-8"),
        (Room("r", "", "tab\tbed"), "room.topic: must not contain control characters"),
        (Room("r", "", "\0"), "room.topic: must not contain control characters"),
    ]:
        assert await refusal(stub.set_room(SetRoomRequest(room))) == f"INVALID_ARGUMENT: {told}"
    assert await listed(stub) == []


async def test_longest_values_are_taken(stub: ChatServiceStub) -> None:
    room = Room("r" * 64, "é" * 64, "é" * 512)
    assert (await set_room(stub, room.id, room.title, room.topic)).topic == room.topic
    assert ids(await listed(stub, query="É" * 64)) == [room.id]


async def test_refusals_of_lists_name_the_field(stub: ChatServiceStub) -> None:
    many = [f"r{number}" for number in range(501)]
    for request, told in (
        (ListRoomsRequest(page_size=-1), "page_size: must not be negative"),
        (ListRoomsRequest("x" * 65), "user_id: must have at most 64 characters"),
        (ListRoomsRequest(marked=True), "marked: needs user_id"),
        (ListRoomsRequest(query="x" * 65), "query: must have at most 64 characters"),
        (ListRoomsRequest(query="\n"), "query: must not contain control characters"),
        (ListRoomsRequest(room_ids=many), "room_ids: must have at most 500 ids"),
        (ListRoomsRequest(room_ids=["a", ""]), "room_ids[1]: must not be empty"),
        (ListRoomsRequest(room_ids=["a", "a"]), "room_ids: must have each id once"),
    ):
        assert await refusal(stub.list_rooms(request)) == f"INVALID_ARGUMENT: {told}"
    for members, told in (
        (ListMembersRequest(), "room_id: must not be empty"),
        (ListMembersRequest("room", page_size=-1), "page_size: must not be negative"),
    ):
        assert await refusal(stub.list_members(members)) == f"INVALID_ARGUMENT: {told}"
    await stub.upsert_user(UpsertUserRequest("a", "A"))
    await stub.upsert_user(UpsertUserRequest("b", "B"))
    last = await stub.list_users(ListUsersRequest(page_size=1))
    for users, told in (
        (ListUsersRequest(user_ids=many), "user_ids: must have at most 500 ids"),
        (ListUsersRequest(user_ids=["a", ""]), "user_ids[1]: must not be empty"),
        (ListUsersRequest(user_ids=["a", "a"]), "user_ids: must have each id once"),
        (
            ListUsersRequest(page_token=last.next_page_token, user_ids=["a"]),
            "page_token: must be empty with user_ids: all are on one page",
        ),
    ):  # fmt: skip
        assert await refusal(stub.list_users(users)) == f"INVALID_ARGUMENT: {told}"


async def test_users_by_their_ids(stub: ChatServiceStub) -> None:
    for number in range(60):
        await stub.upsert_user(UpsertUserRequest(f"u{number:02}", f"User {number}"))
    asked = [f"u{number:02}" for number in range(59, -1, -1)]
    page = await stub.list_users(ListUsersRequest(page_size=1, user_ids=[*asked, "nobody"]))
    assert [user.name for user in page.users] == [f"User {number}" for number in range(60)]
    assert page.next_page_token == ""
    assert (await stub.list_users(ListUsersRequest(user_ids=["nobody"]))).users == []


async def test_known_room_of_an_old_id_may_be_set() -> None:
    context = await in_memory()
    await context.hub.store.append([message("a\u200bb")])
    async with served(context) as channel:
        assert (await set_room(ChatServiceStub(channel), "a\u200bb", "Old")).change == 1
