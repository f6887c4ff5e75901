"""Limits of sizes, and of the rooms and users of a connection."""

from dataclasses import replace

import betterproto
import pytest
from grpclib.client import Channel

import chat
from gen.chat import (
    ChatMessages,
    ChatServiceStub,
    ErrorCode,
    GetUserRequest,
    Join,
    Leave,
    Presence,
    RelayCommand,
    RelayServiceStub,
    Texts,
    UserStatus,
)
from tests.support import (
    ChatCall,
    RelayCall,
    message,
)


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    limits = chat.Limits(
        content_bytes=2000,
        id_length=3,
        rooms_per_stream=2,
        users_per_stream=2,
        rooms_per_proxy=3,
        users_per_proxy=3,
    )
    return replace(chat_config, limits=limits, mailbox_bytes=64 * 1024)


async def test_sizes_are_limited(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        await call.post(message("roo", "x" * 2000, sender_id="ada", key="123"))
        call.say(message("roo", "x" * 2001))
        text = (await call.receive()).error.message
        assert text == "chat_message.content: must have at most 2000 bytes of UTF-8"
        call.say(message("room"))
        text = (await call.receive()).error.message
        assert text == "chat_message.room_id: must have at most 3 characters"


async def test_stream_rooms_are_limited(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        await call.enter("a")
        await call.post(message("b"))
        call.join("c", request_id="join")
        call.say(message("c"), request_id="send")
        for request_id, path in (("join", "join"), ("send", "chat_message")):
            refused = await call.receive()
            assert refused.request_id == request_id
            assert refused.error.code == ErrorCode.RESOURCE_EXHAUSTED
            text = f"{path}.room_id: a connection may be in at most 2 rooms"
            assert refused.error.message == text
        # Joined rooms stay usable, and leaving frees a place.
        await call.post(message("a"))
        await call.enter("b")
        call.leave("a")
        await call.receive()
        await call.post(message("c"))


async def test_stream_users_are_limited(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        for user_id in ("ada", "bob", "ada"):
            await call.post(message("roo", sender_id=user_id))
        call.say(message("new", sender_id="eve"), request_id="send")
        refused = await call.receive()
        assert refused.request_id == "send"
        assert (refused.error.code, refused.error.retryable) == (
            ErrorCode.RESOURCE_EXHAUSTED,
            False,
        )
        text = "chat_message.sender_id: a connection may send as at most 2 users"
        assert refused.error.message == text
        # Known users may go on sending; a refused message joins no room.
        await call.post(message("roo", sender_id="bob"))
        assert await call.enter("new") == 0
    async with ChatCall(stub) as another:
        await another.post(message("roo", sender_id="eve"))


async def told(relay: RelayCall, *commands: RelayCommand) -> list[str]:
    """The refusal of the last command; none if it is accepted."""
    relay.batch(*commands, RelayCommand(99, leave=Leave("end")))
    texts = []
    while (event := await relay.event()).ref != 99:
        if betterproto.which_one_of(event, "event")[0] == "error":
            assert event.error.code == ErrorCode.RESOURCE_EXHAUSTED
            texts.append(event.error.message)
    return texts


def sent(ref: int, user_id: str) -> RelayCommand:
    return RelayCommand(ref, chat_message=message("roo", sender_id=user_id))


async def test_proxy_users_are_limited(channel: Channel, stub: ChatServiceStub) -> None:
    text = "a connection may send as at most 3 users"
    async with RelayCall(RelayServiceStub(channel)) as relay:
        active = [RelayCommand(n, presence=Presence(f"u{n}", True)) for n in (1, 2)]
        assert await told(relay, *active, sent(3, "u3")) == []
        assert await told(relay, sent(4, "u4"), sent(5, "u1")) == [
            f"chat_message.sender_id: {text}"
        ]
        more = RelayCommand(6, presence=Presence("u5", True))
        assert await told(relay, more) == [f"presence.user_id: {text}"]
        columns = ChatMessages(
            refs=[7, 8],
            ids=Texts("ab", [1, 1]),
            room_ids=Texts("rooroo", [3, 3]),
            sender_ids=Texts("u2u6", [2, 2]),
            contents=Texts("xx", [1, 1]),
        )
        assert await told(relay, RelayCommand(chat_messages=columns)) == [
            f"chat_message.sender_id: {text}"
        ]
        # A user that goes frees a place.
        gone = RelayCommand(9, presence=Presence("u1", False))
        assert await told(relay, gone, sent(10, "u4")) == []
        while (await relay.event()).ref != 10:  # those before it are stored before it
            pass
        assert (await stub.get_user(GetUserRequest("u4"))).user.status == UserStatus.ACTIVE


async def test_proxy_rooms_are_limited(channel: Channel) -> None:
    async with RelayCall(RelayServiceStub(channel)) as relay:
        joins = [RelayCommand(n, join=Join(f"r{n}")) for n in (1, 2, 3, 4)]
        text = "join.room_id: a connection may be in at most 3 rooms"
        assert await told(relay, *joins) == [text]
        again = RelayCommand(5, join=Join("r1"))
        assert await told(relay, again, RelayCommand(6, leave=Leave("r1")), joins[3]) == []
