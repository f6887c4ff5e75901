"""Heartbeats of the gRPC server: silent clients are pinged, then dropped."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from h2.events import DataReceived, PingReceived

import chat
import codec
from gen.chat import ChatServiceStub, ChatStream, GetUserRequest, UserStatus
from hosting.grpc.limits import ConnectionLimits
from tests.kit.http2 import Http2Client, prefixed
from tests.support import ChatCall, channel_to, eventually, message

CHAT = "/chat.ChatService/Chat"


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    # In memory: a slow disk could delay it while no ping is answered.
    limits = ConnectionLimits(heartbeat_seconds=0.6)
    return replace(chat_config, database=chat.IN_MEMORY, connection_limits=limits)


@pytest.fixture
async def client(chat_server: chat.RunningServer) -> AsyncIterator[Http2Client]:
    """A client that answers pings only while it reads."""
    async with Http2Client.connect(chat_server.host, chat_server.port) as client:
        yield client


async def status(stub: ChatServiceStub, user_id: str) -> UserStatus:
    return (await stub.get_user(GetUserRequest(user_id))).user.status


async def test_silent_client_is_dropped(client: Http2Client, stub: ChatServiceStub) -> None:
    said = ChatStream(chat_message=message(sender_id="dead"))
    stream = client.request(CHAT, prefixed(codec.encode(said)))
    await client.data(stream)
    assert await status(stub, "dead") == UserStatus.ACTIVE

    async def inactive() -> bool:
        return await status(stub, "dead") == UserStatus.INACTIVE

    await eventually(inactive)
    # The ping sent before that is still to be read.
    events = []
    while (event := await client.event()) is not None:
        events.append(event)
    assert any(isinstance(event, PingReceived) for event in events)


async def test_answering_client_stays(client: Http2Client, chat_server: chat.RunningServer) -> None:
    """Libraries of gRPC answer pings by themselves, and an idle channel stays as well."""
    said = ChatStream(chat_message=message("room", sender_id="alive"))
    stream = client.request(CHAT, prefixed(codec.encode(said)))
    await client.data(stream)
    async with channel_to(chat_server) as channel:
        before = await channel.__connect__()
        for _ in range(3):
            while not isinstance(event := await client.event(), PingReceived):
                assert event is not None, "dropped"
        async with ChatCall(ChatServiceStub(channel)) as call:
            await call.post(message("room"))
        assert await channel.__connect__() is before
    while not isinstance(event := await client.event(), DataReceived):
        assert event is not None, "dropped"
    assert event.stream_id == stream
