"""What is limited, with small limits; and who pays for a slow client."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from grpclib import Status

import chat
from gen.chat import ChatServiceStub, ErrorCode, GetUserRequest, UserStatus
from tests.support import SMALL_WINDOWS, ChatCall, channel_to, eventually, message, seqs


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    limits = chat.Limits(content_bytes=2000, id_length=3, rooms_per_stream=2)
    return replace(chat_config, limits=limits, mailbox_bytes=64 * 1024)


async def test_sizes_are_those_of_the_settings(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        await call.post(message("roo", "x" * 2000, sender_id="ada", key="123"))
        call.say(message("roo", "x" * 2001))
        text = (await call.receive()).error.message
        assert text == "chat_message.content: must have at most 2000 bytes of UTF-8"
        call.say(message("room"))
        text = (await call.receive()).error.message
        assert text == "chat_message.room_id: must have at most 3 characters"


async def test_rooms_of_a_stream(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        await call.enter("a")
        await call.post(message("b"))
        call.join("c", request_id="join")
        call.say(message("c"), request_id="send")
        for request_id in ("join", "send"):
            refused = await call.receive()
            assert refused.request_id == request_id
            assert refused.error.code == ErrorCode.RESOURCE_EXHAUSTED
            assert refused.error.message == "a connection may be in at most 2 rooms"
        # The rooms that it is in are still open to it, and leaving makes room.
        await call.post(message("a"))
        await call.enter("b")
        call.leave("a")
        await call.receive()
        await call.post(message("c"))


async def send_much(stub: ChatServiceStub, number: int) -> None:
    async with ChatCall(stub) as call:
        for _ in range(number):
            assert (await call.post(message("roo", "x" * 2000))).content


async def test_who_does_not_read_is_cut_off_alone(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with channel_to(chat_server, SMALL_WINDOWS) as other:
        slow_stub = ChatServiceStub(other)
        async with ChatCall(slow_stub) as slow, ChatCall(stub) as quick:
            await slow.enter("roo")
            await quick.enter("roo")
            hearing = asyncio.create_task(quick.hear_many(200))
            await send_much(stub, 200)
            assert seqs(await hearing) == list(range(1, 201))
            heard, status = await slow.rest()
            assert status is Status.RESOURCE_EXHAUSTED
            # What it did get is a beginning without gaps.
            assert seqs(r.chat_message for r in heard) == list(range(1, len(heard) + 1))
            assert len(heard) < 200


async def test_who_never_reads_again_is_cut_off_too(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    """Nothing waits for a reader that will not come."""

    async def eve_is_inactive() -> bool:
        user = (await stub.get_user(GetUserRequest("eve"))).user
        return user.status == UserStatus.INACTIVE

    async with (
        channel_to(chat_server, SMALL_WINDOWS) as other,
        ChatCall(ChatServiceStub(other)) as slow,
    ):
        await slow.post(message("roo", sender_id="eve"))
        await send_much(stub, 200)
        await eventually(eve_is_inactive)


async def test_other_calls_of_the_same_client_go_on(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with channel_to(chat_server, SMALL_WINDOWS) as other:
        slow_stub = ChatServiceStub(other)
        async with ChatCall(slow_stub) as slow, ChatCall(slow_stub) as good:
            await slow.enter("roo")
            await send_much(stub, 200)
            assert (await good.post(message("boo"))).seq == 1
