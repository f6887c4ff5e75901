"""Unknown fields from a server with a newer schema: dropped on arrival."""

from collections.abc import AsyncIterator
from typing import Any

import betterproto
import pytest
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream

import codec
import proxy
from gen.chat import (
    ChatMessage,
    ChatServiceBase,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
    Joined,
    RelayEvent,
    RelayRequest,
    RelayResponse,
)
from tests.filling import filled, holders
from tests.kit.ports import free_ports
from tests.proxy.web_client import connect, serve_http
from tests.support import sent_by


class NewerCodec(codec.GrpcCodec):
    """Adds a field to each message of the server."""

    def encode(self, message: Any, message_type: Any) -> bytes:
        del message_type
        return filled(message, of=betterproto.Message)


class Relay:
    """A server with one room that stores all messages sent there."""

    def __mapping__(self) -> dict[str, Handler]:
        kind = Cardinality.STREAM_STREAM
        return {"/chat.RelayService/Relay": Handler(self.relay, kind, RelayRequest, RelayResponse)}

    async def relay(self, stream: Stream[RelayRequest, RelayResponse]) -> None:
        await stream.send_initial_metadata()
        seq = 0
        async for request in stream:
            for command in request.commands:
                if betterproto.which_one_of(command, "command")[0] == "join":
                    answer = RelayEvent(command.ref, joined=Joined("room", "epoch"))
                    await stream.send_message(RelayResponse([answer]))
                for message in sent_by(command).values():
                    message.seq = seq = seq + 1
                    await stream.send_message(RelayResponse([RelayEvent(chat_message=message)]))


class Chat(ChatServiceBase):
    """The history of that room, independent of what was sent."""

    async def get_chat_history(self, request: GetChatHistoryRequest) -> GetChatHistoryResponse:
        return GetChatHistoryResponse([ChatMessage("a", request.room_id, "ada", "hi", 1)])


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server = Server([Relay(), Chat()], codec=NewerCodec())
    [port] = free_ports(1)
    await server.start("127.0.0.1", port)
    yield f"127.0.0.1:{port}"
    server.close()
    await server.wait_closed()


async def test_unknown_server_fields_are_dropped(address: str) -> None:
    async with serve_http(proxy.Config(upstream=address)) as http:
        client = await connect(http)
        assert "joined" in await client.ask(join={"room_id": "room"})
        sent = {"id": "b", "room_id": "room", "sender_id": "bob", "content": "hello"}
        assert (await client.ask(chat_message=sent))["chat_message"]["seq"] == 1
        page = await client.ask(get_chat_history={"room_id": "room"})
        assert len(page["chat_history"]["messages"]) == 1
        assert holders() == 0
