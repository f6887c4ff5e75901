"""Graceful drain: accepted messages are kept, and deaf clients are not waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated

import chat
import codec
from gen.chat import (
    ChatMessage,
    ChatServiceStub,
    ChatStream,
    GetChatHistoryRequest,
    GetUserRequest,
    Join,
    RelayCommand,
    RelayRequest,
    RelayResponse,
)
from tests.kit.http2 import Http2Client, payloads, prefixed
from tests.support import PATIENCE_SECONDS, ChatCall, channel_to, message, seqs

CHAT = "/chat.ChatService/Chat"
RELAY = "/chat.RelayService/Relay"


async def history(config: chat.Config) -> list[ChatMessage]:
    """The history as a new server on the same file has it."""
    async with chat.serve(config) as server, channel_to(server) as channel:
        stub = ChatServiceStub(channel)
        return (await stub.get_chat_history(GetChatHistoryRequest("room", limit=500))).messages


async def drained(client: Http2Client, server: chat.RunningServer, stream: int) -> bytes:
    """Drains while a stream is open; returns the data received before UNAVAILABLE."""
    draining = asyncio.create_task(server.drain())
    data, headers = await client.answer(stream)
    await draining
    assert headers["grpc-status"] == str(Status.UNAVAILABLE.value)
    return data


async def test_drain_answers_a_stream_then_ends_it(
    chat_config: chat.Config,
) -> None:
    async with (
        chat.serve(chat_config) as server,
        Http2Client.connect(server.host, server.port) as client,
    ):
        requests = [ChatStream(chat_message=message(key=str(number))) for number in range(300)]
        stream = client.request(CHAT, b"".join(prefixed(codec.encode(r)) for r in requests))
        client.accept_everything()
        first = await client.data(stream)
        later = await drained(client, server, stream)
        events = []
        while (event := await client.event()) is not None:
            events.append(event)
    [goodbye] = [event for event in events if isinstance(event, ConnectionTerminated)]
    assert (goodbye.error_code, goodbye.last_stream_id) == (ErrorCodes.NO_ERROR, stream)
    heard = [codec.decode(ChatStream, payload).chat_message for payload in payloads(first + later)]
    assert seqs(heard) == list(range(1, len(heard) + 1))
    # Delivered messages are stored, and stored ones delivered.
    assert await history(chat_config) == heard


async def test_drain_answers_a_relay(chat_config: chat.Config) -> None:
    async with (
        chat.serve(chat_config) as server,
        Http2Client.connect(server.host, server.port) as client,
    ):
        commands = [RelayCommand(ref=n, chat_message=message(key=str(n))) for n in range(1, 301)]
        batches = [RelayRequest(commands=commands[n : n + 10]) for n in range(0, 300, 10)]
        stream = client.request(RELAY, b"".join(prefixed(codec.encode(b)) for b in batches))
        client.accept_everything()
        first = await client.data(stream)
        later = await drained(client, server, stream)
    responses = [codec.decode(RelayResponse, payload) for payload in payloads(first + later)]
    answers = [event for response in responses for event in response.events]
    assert [(event.ref, event.chat_message.seq) for event in answers] == [
        (ref, ref) for ref in range(1, len(answers) + 1)
    ]
    assert await history(chat_config) == [event.chat_message for event in answers]


async def test_drain_gives_an_idle_stream_the_reason(chat_config: chat.Config) -> None:
    async with chat.serve(chat_config) as server, channel_to(server) as channel:
        call = ChatCall(ChatServiceStub(channel))
        await call.enter("room")
        draining = asyncio.create_task(server.drain())
        with pytest.raises(GRPCError, match="the server is shutting down"):
            await call.receive()
        await draining


async def test_drain_accepts_no_connection(chat_config: chat.Config) -> None:
    async with chat.serve(chat_config) as server, channel_to(server) as channel:
        await server.drain()
        with pytest.raises(ConnectionRefusedError):
            await ChatServiceStub(channel).get_user(GetUserRequest("ada"))


async def test_port_can_be_used_again(chat_config: chat.Config) -> None:
    port = 0
    for seq in (1, 2):
        async with (
            chat.serve(replace(chat_config, port=port)) as server,
            channel_to(server) as channel,
            ChatCall(ChatServiceStub(channel)) as call,
        ):
            assert (await call.post(message())).seq == seq
            port = server.port


@asynccontextmanager
async def health_channel(server: chat.RunningServer) -> AsyncIterator[Channel]:
    channel = Channel(server.host, server.port)
    yield channel
    channel.close()


async def health(channel: Channel) -> str:
    answer = await HealthStub(channel).Check(HealthCheckRequest(service="chat.ChatService"))
    return HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_drain_waits_for_a_slow_reader(chat_config: chat.Config) -> None:
    """Meanwhile health is NOT_SERVING, new streams are refused, unary calls answered."""
    async with (
        chat.serve(chat_config) as server,
        Http2Client.connect(server.host, server.port) as slow,
        channel_to(server) as channel,
        health_channel(server) as other,
    ):
        stream = slow.request(CHAT, prefixed(codec.encode(ChatStream(join=Join("room")))))
        first = await slow.data(stream)
        stub = ChatServiceStub(channel)
        async with ChatCall(stub) as call:
            for _ in range(20):
                await call.post(message("room", "x" * 16_000))
        assert await health(other) == "SERVING"
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(server.drain())
            await asyncio.sleep(0)
            assert await health(other) == "NOT_SERVING"
            with pytest.raises(GRPCError, match="the server is shutting down"):
                await ChatCall(stub).receive()
            user = (await stub.get_user(GetUserRequest("ada"))).user
            assert user.name == "ada"
            assert not draining.done()
            slow.accept_everything()
            data, headers = await slow.answer(stream)
    responses = [codec.decode(ChatStream, payload) for payload in payloads(first + data)]
    assert seqs(response.chat_message for response in responses[1:]) == list(range(1, 21))
    assert headers["grpc-status"] == str(Status.UNAVAILABLE.value)


async def test_drain_ends_without_a_deaf_reader(chat_config: chat.Config) -> None:
    """Its socket is full: even the reason cannot be sent."""
    config = replace(chat_config, drain_seconds=0.1)
    async with (
        chat.serve(config) as server,
        Http2Client.connect(server.host, server.port) as frozen,
        channel_to(server) as channel,
    ):
        frozen.accept_everything()
        stream = frozen.request(CHAT, prefixed(codec.encode(ChatStream(join=Join("room")))))
        await frozen.data(stream)
        async with ChatCall(ChatServiceStub(channel)) as call:
            for _ in range(600):
                await call.post(message("room", "x" * 16_000))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await server.drain()
