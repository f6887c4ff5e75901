"""Metrics of the chat server, as Prometheus reads them."""

import asyncio
from dataclasses import replace

import aiohttp
import pytest
from grpclib import GRPCError, Status
from structlog.testing import capture_logs

import chat
from gen.chat import ChatServiceStub, GetUserRequest, Join, RelayCommand, RelayServiceStub
from tests.chat.storage.files import full_disk
from tests.scraping import scrape, scrape_until
from tests.support import (
    SMALL_WINDOWS,
    ChatCall,
    RelayCall,
    channel_to,
    eventually,
    message,
)


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    limits = chat.Limits(content_bytes=2000, id_length=8)
    return replace(chat_config, limits=limits, mailbox_bytes=64 * 1024, metrics_port=0)


async def test_metrics_of_messages_and_rooms(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with ChatCall(stub) as ada, ChatCall(stub) as bob:
        await bob.enter("room")
        await ada.enter("other")
        await ada.post(message("room", sender_id="ada", key="1"))
        await ada.post(message("room", sender_id="ada", key="1"))
        await ada.post(message("other", sender_id="ada", key="2"))
        await bob.hear()
        told = await scrape(chat_server.status_url)
        assert told("chat_connections") == 1
        assert told("chat_streams") == 2
        assert told("chat_active_users") == 1
        assert told("chat_rooms") == 2
        assert told("chat_room_members") == 3
        assert told("chat_messages_received_total") == 3
        assert told("chat_messages_stored_total") == 2
        assert told("chat_deliveries_total") == 3
        assert told("chat_joins_total") == 2
        # A repeated message is not delivered, but still waits for a commit.
        assert told("chat_delivery_seconds_count") == 3
        assert 0 < told("chat_delivery_seconds_sum") < 60
        assert told("chat_commit_messages_sum") == 3
        assert told("chat_commit_seconds_count") == told("chat_commit_messages_count") > 0
        assert told("chat_commit_failures_total") == 0
    told = await scrape_until(chat_server.status_url, lambda told: told("chat_streams") == 0)
    assert told("chat_rooms") == told("chat_room_members") == told("chat_active_users") == 0
    assert told("chat_messages_stored_total") == 2


async def test_metrics_of_calls(chat_server: chat.RunningServer, stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as ada:
        await ada.post(message())
        await stub.get_user(GetUserRequest("ada"))
        with pytest.raises(GRPCError):
            await stub.get_user(GetUserRequest("nobody"))
        with pytest.raises(GRPCError):
            await stub.get_user(GetUserRequest(""))
        ada.end()
        await ada.rest()
    got = "/chat.ChatService/GetUser"
    told = await scrape_until(
        chat_server.status_url,
        lambda told: told("chat_calls_total", method="/chat.ChatService/Chat", status="OK") == 1,
    )
    for status in ("OK", "NOT_FOUND", "INVALID_ARGUMENT"):
        assert told("chat_calls_total", method=got, status=status) == 1
    async with ChatCall(stub) as ada:
        await ada.enter("room")
    await scrape_until(
        chat_server.status_url,
        lambda told: (
            told("chat_calls_total", method="/chat.ChatService/Chat", status="CANCELLED") == 1
        ),
    )


async def test_metrics_of_stream_errors(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with ChatCall(stub) as ada:
        ada.say(message("a room with a name that is too long"))
        assert (await ada.receive()).error
    relay = RelayServiceStub(stub.channel)
    async with RelayCall(relay) as proxy:
        proxy.batch(RelayCommand(ref=1, join=Join("")), RelayCommand(ref=2, chat_message=message()))
        assert (await proxy.event()).error
        await proxy.event()
        told = await scrape(chat_server.status_url)
    assert told("chat_errors_total", code="INVALID_ARGUMENT") == 2
    assert told("chat_errors_total", code="UNAVAILABLE") == 0
    assert told("chat_batch_commands_count") == 1
    assert told("chat_batch_commands_sum") == 2


async def test_metrics_of_resumes(chat_server: chat.RunningServer, stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as ada:
        for _ in range(3):
            await ada.post(message())
    async with ChatCall(stub) as bob:
        await bob.enter("room")
        await bob.enter("room", after_seq=1)
        await bob.hear_many(2)
        await bob.enter("room", after_seq=99)
        await bob.enter("room", after_seq=1, epoch="another history")
        told = await scrape(chat_server.status_url)
    assert told("chat_joins_total") == 4
    assert told("chat_resumes_total", outcome="recovered") == 1
    assert told("chat_resumes_total", outcome="lost") == 2
    assert told("chat_replayed_messages_total") == 2


async def test_slow_consumer_is_counted_once(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with (
        channel_to(chat_server, SMALL_WINDOWS) as narrow,
        ChatCall(ChatServiceStub(narrow)) as slow,
        ChatCall(stub) as ada,
    ):
        await slow.enter("room")
        waiting = 0.0
        for _ in range(200):
            await ada.post(message(content="x" * 2000))
            told = await scrape(chat_server.status_url)
            waiting = max(waiting, told("chat_mailbox_bytes"))
            if told("chat_slow_consumers_total"):
                break
        assert (await slow.rest())[1] is Status.RESOURCE_EXHAUSTED
        told = await scrape(chat_server.status_url)
        assert told("chat_slow_consumers_total") == 1
        assert told("chat_streams") == 1
        assert told("chat_mailbox_bytes") == 0
        method = "/chat.ChatService/Chat"
        assert told("chat_calls_total", method=method, status="RESOURCE_EXHAUSTED") == 1
        assert 0 < waiting <= 64 * 1024


async def test_metrics_of_failed_commits(
    chat_config: chat.Config, chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with ChatCall(stub) as ada:
        await ada.post(message(key="1"))
        with full_disk(chat_config.database), capture_logs():
            ada.say(message(key="2"))
            assert (await ada.receive()).error.retryable
        told = await scrape(chat_server.status_url)
    assert told("chat_commit_failures_total") == 1
    assert told("chat_errors_total", code="UNAVAILABLE") == 1
    assert told("chat_write_queue_bytes") == 0
    assert told("chat_write_queue_limit_bytes") == chat_config.write_queue_bytes


async def test_metrics_of_refused_connections(chat_config: chat.Config) -> None:
    limits = chat.ConnectionLimits(connections=1)
    async with (
        chat.serve(replace(chat_config, connection_limits=limits)) as server,
        channel_to(server) as channel,
        ChatCall(ChatServiceStub(channel)) as ada,
    ):
        await ada.enter("room")
        _, refused = await asyncio.open_connection(server.host, server.port)
        refused.close()
        await refused.wait_closed()
        told = await scrape_until(
            server.status_url, lambda told: told("chat_connections_refused_total") == 1
        )
        assert told("chat_connections") == told("chat_connections_opened_total") == 1


async def test_status_page_shows_rooms(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with ChatCall(stub) as ada, aiohttp.ClientSession(chat_server.status_url) as session:
        for room, number in (("quiet", 1), ("busy", 3)):
            for _ in range(number):
                await ada.post(message(room))

        async def shown() -> bool:
            async with session.get("/status.json") as response:
                rooms = (await response.json())["rooms"]
            return [room["room_id"] for room in rooms] == ["busy", "quiet"]

        await eventually(shown)
