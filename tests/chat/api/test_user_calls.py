"""`GetUser`, `UpsertUser`, `ListUsers` over a real connection."""

from itertools import pairwise

from grpclib import Status

from gen.chat import (
    ChatServiceStub,
    GetUserRequest,
    ListUsersRequest,
    UpsertUserRequest,
    User,
    UserStatus,
)
from tests.support import ChatCall, eventually, message, refusal


async def get(stub: ChatServiceStub, user_id: str) -> User:
    return (await stub.get_user(GetUserRequest(user_id))).user


async def upsert(stub: ChatServiceStub, user_id: str, name: str, email: str = "") -> User:
    return (await stub.upsert_user(UpsertUserRequest(user_id, name, email))).user


async def is_inactive(stub: ChatServiceStub, user_id: str) -> bool:
    return (await get(stub, user_id)).status == UserStatus.INACTIVE


async def test_unknown_user_is_not_found(stub: ChatServiceStub) -> None:
    assert await refusal(get(stub, "ada")) == "NOT_FOUND: user_id: there is no user ada"


async def test_sender_is_active_until_its_stream_ends(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        await call.post(message(sender_id="ada"))
        user = await get(stub, "ada")
        assert (user.name, user.email, user.status) == ("ada", "", UserStatus.ACTIVE)
        call.end()
        assert await call.rest() == ([], Status.OK)
    assert (await get(stub, "ada")).status == UserStatus.INACTIVE


async def test_lost_connection_makes_user_inactive(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        await call.post(message(sender_id="ada"))
    await eventually(lambda: is_inactive(stub, "ada"))


async def test_stream_may_send_as_several_users(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        for user_id in ("ada", "bob"):
            await call.post(message(sender_id=user_id))
        for user_id in ("ada", "bob"):
            assert (await get(stub, user_id)).status == UserStatus.ACTIVE


async def test_repeat_makes_its_sender_active(stub: ChatServiceStub) -> None:
    for _ in range(2):
        async with ChatCall(stub) as call:
            await call.post(message(sender_id="ada", key="1"))
            assert (await get(stub, "ada")).status == UserStatus.ACTIVE
            call.end()
            await call.rest()
        assert (await get(stub, "ada")).status == UserStatus.INACTIVE


async def test_users_are_listed_in_pages(stub: ChatServiceStub) -> None:
    ids = sorted(f"user {number}" for number in range(7))
    for user_id in ids:
        await upsert(stub, user_id, user_id)
    seen: list[list[str]] = []
    token = ""
    while True:
        listed = await stub.list_users(ListUsersRequest(page_size=3, page_token=token))
        seen.append([user.id for user in listed.users])
        token = listed.next_page_token
        if not token:
            break
    assert seen == [ids[:3], ids[3:6], ids[6:]]


async def test_last_user_page_is_marked(stub: ChatServiceStub) -> None:
    for user_id in "ab":
        await upsert(stub, user_id, user_id)
    listed = await stub.list_users(ListUsersRequest(page_size=2))
    assert [user.id for user in listed.users] == ["a", "b"]
    assert listed.next_page_token == ""


async def test_user_page_sizes(stub: ChatServiceStub) -> None:
    """0 stands for 50; more than 500 counts as 500."""
    async with ChatCall(stub) as call:
        for number in range(501):
            call.say(message(sender_id=f"{number:03}"))
        await call.hear_many(501)
    for asked, given in ((0, 50), (1, 1), (500, 500), (501, 500)):
        listed = await stub.list_users(ListUsersRequest(page_size=asked))
        assert len(listed.users) == given
        assert all(a.id < b.id for a, b in pairwise(listed.users))
        assert listed.next_page_token


async def test_refused_user_is_not_stored(stub: ChatServiceStub) -> None:
    for request, text in (
        (UpsertUserRequest("", "Ada"), "user_id: must not be empty"),
        (UpsertUserRequest("x" * 65, "Ada"), "user_id: must have at most 64 characters"),
        (UpsertUserRequest("ada", ""), "name: must not be empty"),
        (UpsertUserRequest("ada", "x" * 65), "name: must have at most 64 characters"),
        (UpsertUserRequest("ada", "A\0"), "name: must not contain control characters"),
        (UpsertUserRequest("ada", "Ada", "ada"), "email: must be an e-mail address, or empty"),
        (UpsertUserRequest("ada", "Ada", tone=13), "tone: must be at most 12"),
    ):
        assert await refusal(stub.upsert_user(request)) == f"INVALID_ARGUMENT: {text}"
    assert (await stub.list_users(ListUsersRequest())).users == []


async def test_user_refusals_name_the_field(stub: ChatServiceStub) -> None:
    assert await refusal(get(stub, "")) == "INVALID_ARGUMENT: user_id: must not be empty"
    told = await refusal(stub.list_users(ListUsersRequest(page_size=-1)))
    assert told == "INVALID_ARGUMENT: page_size: must not be negative"
