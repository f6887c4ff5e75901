"""Unknown fields are dropped at every entry."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import betterproto
import pytest
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality

import chat
import codec
from codec.columns import lengths_of
from gen.chat import (
    ChatMessage,
    ChatMessages,
    ChatStream,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
    Join,
    RelayCommand,
    RelayRequest,
    RelayResponse,
    Texts,
    UpsertUserRequest,
    UpsertUserResponse,
)
from tests.filling import filled, holders
from tests.support import PATIENCE_SECONDS

SMALL = 1000
SERVICE = "/chat.ChatService"
CHAT, RELAY = f"{SERVICE}/Chat", "/chat.RelayService/Relay"


class KeepingCodec(codec.GrpcCodec):
    """The codec of a client that keeps unknown fields: betterproto's own parser."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        return message_type().parse(data)


@pytest.fixture(params=["memory", "sqlite"])
def chat_config(chat_config: chat.Config, request: pytest.FixtureRequest) -> chat.Config:
    return (
        replace(chat_config, database=chat.IN_MEMORY) if request.param == "memory" else chat_config
    )


@pytest.fixture
async def keeping(chat_server: chat.RunningServer) -> AsyncIterator[Channel]:
    channel = Channel(chat_server.host, chat_server.port, codec=KeepingCodec())
    yield channel
    channel.close()


async def talk(
    channel: Channel,
    path: str,
    request: type[Any],
    response: type[Any],
    data: list[bytes],
    number: int,
) -> list[Any]:
    """Sends encoded requests on a live stream; returns that many responses."""
    found: list[Any] = []
    async with channel.request(path, Cardinality.STREAM_STREAM, request, response) as stream:
        for each in data:
            await stream.send_message(each)
        while len(found) < number:
            found.append(await stream.recv_message())
        await stream.cancel()
    return found


@pytest.mark.parametrize("of", [ChatStream, ChatMessage])
async def test_chat_message_drops_unknown_fields(
    keeping: Channel, chat_server: chat.RunningServer, of: type[betterproto.Message]
) -> None:
    del chat_server
    sent = [
        filled(ChatStream(chat_message=ChatMessage(f"{each}", "room", "ada", "hi")), of=of)
        for each in range(5)
    ]
    heard = await talk(keeping, CHAT, ChatStream, ChatStream, sent, 5)
    assert [each.chat_message.seq for each in heard] == [1, 2, 3, 4, 5]
    assert max(len(bytes(each)) for each in heard) < SMALL
    await check_history(keeping, 5)


async def check_history(channel: Channel, number: int) -> None:
    """Checks that the history, and all that the server returns, has no unknown fields."""
    method = UnaryUnaryMethod[bytes, GetChatHistoryResponse](
        channel, f"{SERVICE}/GetChatHistory", bytes, GetChatHistoryResponse
    )
    asked = filled(GetChatHistoryRequest("room", number), of=GetChatHistoryRequest)
    page = await method(asked, timeout=PATIENCE_SECONDS)
    assert len(page.messages) == number
    assert len(bytes(page)) < SMALL
    assert holders() == 0


@pytest.mark.parametrize("of", [ChatStream, Join])
async def test_chat_join_drops_unknown_fields(
    keeping: Channel, of: type[betterproto.Message]
) -> None:
    [joined] = await talk(
        keeping, CHAT, ChatStream, ChatStream, [filled(ChatStream(join=Join("room")), of=of)], 1
    )
    assert joined.joined.room_id == "room"
    assert len(bytes(joined)) < SMALL
    assert holders() == 0


@pytest.mark.parametrize("of", [RelayRequest, RelayCommand, ChatMessage])
async def test_relay_message_drops_unknown_fields(
    keeping: Channel, of: type[betterproto.Message]
) -> None:
    await check_relay(
        keeping,
        filled(
            RelayRequest(
                [
                    RelayCommand(1, join=Join("room")),
                    RelayCommand(2, chat_message=ChatMessage("a", "room", "ada", "hi")),
                ]
            ),
            of=of,
        ),
        1,
    )


def columns() -> ChatMessages:
    return ChatMessages(
        refs=[2, 3],
        ids=Texts("ab", lengths_of(["a", "b"])),
        room_ids=Texts("roomroom", lengths_of(["room", "room"])),
        sender_ids=Texts("adabob", lengths_of(["ada", "bob"])),
        contents=Texts("hihi", lengths_of(["hi", "hi"])),
    )


@pytest.mark.parametrize("of", [ChatMessages, Texts])
async def test_relay_columns_drop_unknown_fields(
    keeping: Channel, of: type[betterproto.Message]
) -> None:
    await check_relay(
        keeping, filled(RelayRequest([RelayCommand(chat_messages=columns())]), of=of), 2
    )


async def check_relay(channel: Channel, batch: bytes, number: int) -> None:
    """Sends a batch while another proxy is in the room and gets the messages."""
    joining = RelayRequest([RelayCommand(1, join=Join("room"))])
    async with channel.request(
        RELAY, Cardinality.STREAM_STREAM, RelayRequest, RelayResponse
    ) as other:
        await other.send_message(joining)
        assert await other.recv_message() is not None
        heard = await talk(channel, RELAY, RelayRequest, RelayResponse, [batch], 1)
        events: list[Any] = []
        while len(events) < number:
            batch_of_other = await other.recv_message()
            assert batch_of_other is not None
            events += batch_of_other.events
        await other.cancel()
    assert max(len(bytes(each)) for each in (*heard, *events)) < SMALL
    await check_history(channel, number)


async def test_unary_request_drops_unknown_fields(keeping: Channel) -> None:
    method = UnaryUnaryMethod[bytes, UpsertUserResponse](
        keeping, f"{SERVICE}/UpsertUser", bytes, UpsertUserResponse
    )
    asked = filled(UpsertUserRequest("ada", "Ada", ""), of=UpsertUserRequest)
    response = await method(asked, timeout=PATIENCE_SECONDS)
    assert response.user.name == "Ada"
    assert len(bytes(response)) < SMALL
    assert holders() == 0
