"""gRPC's official client, with classes made from the schema alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio  # type: ignore[import-untyped]  # comes without types
import pytest
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

import chat
from gen.chat import ChatServiceStub, GetChatHistoryRequest
from tests.chat.api.grpcio import SERVICE, Conversation, compiled
from tests.support import PATIENCE_SECONDS, ChatCall, channel_to, message

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The messages of proto/chat.proto, by full name."""
    return compiled(ROOT / "proto/chat.proto", tmp_path_factory.mktemp("schema"))


@pytest.fixture
async def channel(chat_server: chat.RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(chat_server.address) as channel:
        yield channel


Call = Callable[..., Any]


@pytest.fixture
def unary(channel: grpc.aio.Channel, schema: dict[str, Any]) -> Call:
    """Calls a unary method with the fields of its request."""

    async def call(method: str, **fields: Any) -> Any:
        request, response = schema[f"chat.{method}Request"], schema[f"chat.{method}Response"]
        stub = channel.unary_unary(
            f"{SERVICE}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return await stub(request(**fields), timeout=PATIENCE_SECONDS)

    return call


@pytest.fixture
def converse(channel: grpc.aio.Channel, schema: dict[str, Any]) -> Callable[[], Conversation]:
    return lambda: Conversation(channel, schema["chat.ChatStream"])


def sent(key: str, sender_id: str = "ada") -> dict[str, str]:
    return {"id": key, "room_id": "room", "sender_id": sender_id, "content": f"text {key}"}


async def test_grpcio_clients_chat(converse: Callable[[], Conversation]) -> None:
    ada, bob = converse(), converse()
    await ada.send(join={"room_id": "room"}, request_id="1")
    joined = await ada.receive()
    assert (joined["joined"]["room_id"], joined["request_id"]) == ("room", "1")
    for number in range(1, 11):
        await bob.send(chat_message=sent(str(number), "bob"))
        heard = [(await each.receive())["chat_message"] for each in (ada, bob)]
        assert heard[0] == heard[1]
        assert heard[0].pop("sent_at").endswith("Z")
        assert heard[0] == {**sent(str(number), "bob"), "seq": number}
    for each in (ada, bob):
        await each.call.done_writing()
        assert await each.call.read() is grpc.aio.EOF
        assert await each.call.code() is grpc.StatusCode.OK


async def test_grpcio_stream_survives_a_refusal(converse: Callable[[], Conversation]) -> None:
    ada = converse()
    await ada.send(chat_message={**sent("1"), "room_id": ""})
    error = (await ada.receive())["error"]
    assert error == {
        "code": "INVALID_ARGUMENT",
        "message": "chat_message.room_id: must not be empty",
    }
    await ada.send(chat_message=sent("1"))
    assert (await ada.receive())["chat_message"]["seq"] == 1
    ada.call.cancel()


async def test_grpcio_user_calls(unary: Call) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await unary("GetUser", user_id="ada")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == "user_id: there is no user ada"
    await unary("UpsertUser", user_id="ada", name="Ada", email="ada@example.com")
    user = (await unary("GetUser", user_id="ada")).user
    assert (user.id, user.name, user.email, user.status) == ("ada", "Ada", "ada@example.com", 2)


async def test_grpcio_history(unary: Call, converse: Callable[[], Conversation]) -> None:
    ada = converse()
    for number in range(1, 6):
        await ada.send(chat_message=sent(str(number)))
        await ada.receive()
    ada.call.cancel()
    page = await unary("GetChatHistory", room_id="room", limit=3)
    assert [(m.id, m.seq, m.content) for m in page.messages] == [
        (str(number), number, f"text {number}") for number in (3, 4, 5)
    ]
    assert page.has_more
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await unary("GetChatHistory", room_id="room", limit=-1)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_grpcio_accepts_the_largest_page(
    unary: Call, converse: Callable[[], Conversation]
) -> None:
    ada = converse()
    for number in range(40):
        await ada.send(chat_message={**sent(str(number)), "content": "😀" * 4096})
        await ada.receive()
    ada.call.cancel()
    page = await unary("GetChatHistory", room_id="room", limit=500)
    assert page.has_more
    assert page.ByteSize() > 2**18


async def rest_of(conversation: Conversation) -> tuple[list[int], grpc.StatusCode]:
    """Reads until the stream ends; returns the positions heard, and the status."""
    heard: list[int] = []
    try:
        while True:
            heard.append((await conversation.receive())["chat_message"]["seq"])
    except grpc.aio.AioRpcError as error:
        return heard, error.code()


async def test_grpcio_stream_drains(chat_config: chat.Config, schema: dict[str, Any]) -> None:
    async with (
        chat.serve(chat_config) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        ada = Conversation(channel, schema["chat.ChatStream"])
        for number in range(100):
            await ada.send(chat_message=sent(str(number)))
        first = (await ada.receive())["chat_message"]["seq"]
        draining = asyncio.create_task(server.drain())
        heard, status = await rest_of(ada)
        await draining
    assert status is grpc.StatusCode.UNAVAILABLE
    assert [first, *heard] == list(range(1, len(heard) + 2))
    async with chat.serve(chat_config) as server, channel_to(server) as grpclib_channel:
        request = GetChatHistoryRequest("room", limit=500)
        page = await ChatServiceStub(grpclib_channel).get_chat_history(request)
    assert len(page.messages) == len(heard) + 1


async def test_grpcio_slow_reader_gets_the_reason(
    chat_config: chat.Config, schema: dict[str, Any]
) -> None:
    async with (
        # In memory: a slow disk is not part of this test.
        chat.serve(
            replace(chat_config, database=chat.IN_MEMORY, mailbox_bytes=64 * 1024)
        ) as server,
        grpc.aio.insecure_channel(server.address) as channel,
        channel_to(server) as grpclib_channel,
    ):
        slow = Conversation(channel, schema["chat.ChatStream"])
        await slow.send(join={"room_id": "room"})
        await slow.receive()
        async with ChatCall(ChatServiceStub(grpclib_channel)) as sender:
            for _ in range(600):
                await sender.post(message("room", "x" * 16_000))
        heard, status = await rest_of(slow)
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert heard == list(range(1, len(heard) + 1))


@pytest.mark.parametrize("service", ["", "chat.ChatService", "chat.RelayService"])
async def test_grpcio_health(channel: grpc.aio.Channel, service: str) -> None:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    answer = await check(HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS)
    assert answer.status == HealthCheckResponse.SERVING


async def test_grpcio_reflection(channel: grpc.aio.Channel) -> None:
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )(timeout=PATIENCE_SECONDS)
    await call.write(ServerReflectionRequest(list_services=""))
    answer = await call.read()
    names = {service.name for service in answer.list_services_response.service}
    assert {"chat.ChatService", "chat.RelayService", "grpc.health.v1.Health"} <= names
    await call.write(ServerReflectionRequest(file_containing_symbol="chat.ChatStream"))
    assert (await call.read()).file_descriptor_response.file_descriptor_proto
    await call.done_writing()
