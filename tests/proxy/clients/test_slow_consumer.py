"""A client that does not read is cut off alone, and its memory comes back."""

import gc
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

import chat
import proxy
from proxy.clients.connection import Connection
from tests.kit.web import RawWebSocket
from tests.proxy.web_client import (
    Client,
    Connect,
    Http,
    joined,
    message,
    seqs,
    serve_http,
)
from tests.support import ANY_NUMBER, NO_RATES, eventually

TEXT = "x" * 16_000
# More than the buffers of the system and of the proxy take.
AT_MOST = 2_000
# From so many bytes on, writers wait.
_FULL = 64 * 1024


@pytest.fixture
def chat_config() -> chat.Config:
    """A server in memory, as much is sent and the disk is not the point."""
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


@pytest.fixture
def proxy_config(chat_server: chat.RunningServer) -> proxy.Config:
    """A proxy with small mailboxes."""
    return proxy.Config(
        upstream=chat_server.address,
        mailbox_bytes=100_000,
        rates=NO_RATES,
        admission=ANY_NUMBER,
    )


@pytest.fixture
async def stuck(http: Http) -> AsyncIterator[RawWebSocket]:
    """A client in "lobby" that has spoken as "stuck" and reads no more."""
    with closing(await RawWebSocket.connect(http)) as stuck:
        await stuck.send(chat_message=message("lobby", "hello", "stuck"))
        assert seqs([await stuck.read_json()]) == [1]
        yield stuck


async def flood(sender: Client, user_id: str) -> int:
    """Sends to "lobby" until a user is inactive; returns the number sent."""
    for number in range(1, AT_MOST):
        await sender.ask(chat_message=message("lobby", TEXT))
        answer = await sender.ask(get_user={"user_id": user_id})
        if answer["user"]["user"]["status"] == "INACTIVE":
            return number
    raise AssertionError("not cut off")


def connections() -> int:
    """Number of WebSocket connections held by proxies of this process."""
    gc.collect()
    return sum(isinstance(each, Connection) for each in gc.get_objects())


def waiting() -> list[int]:
    """Number of bytes waiting in each socket."""
    found = [each for each in gc.get_objects() if isinstance(each, Connection)]
    return [each.socket.waiting_bytes for each in found]


def transports(http: Http) -> int:
    """Number of TCP connections of the proxy."""
    runner = http.server.runner
    assert runner is not None
    assert runner.server is not None
    return len(runner.server.connections)


async def test_frames_after_cutoff_are_ignored(http: Http, stuck: RawWebSocket) -> None:
    sender = await joined(http, "lobby")
    await flood(sender, "stuck")
    await stuck.send(chat_message=message("attic", "too late", "stuck"))
    await sender.barrier()
    assert (await stuck.read_to_close())[-1].close_code == 4008
    history = (await sender.ask(get_chat_history={"room_id": "attic"}))["chat_history"]
    assert history["messages"] == []


async def test_slow_consumer_gets_close_reason_and_may_resume(
    http: Http, stuck: RawWebSocket
) -> None:
    sender = await joined(http, "lobby")
    sent = await flood(sender, "stuck")
    *frames, close = await stuck.read_to_close()
    assert close.close_code == 4008
    # The messages before the end have no gap.
    got = seqs([frame.json() for frame in frames])
    assert got == list(range(2, 2 + len(got)))
    assert len(got) <= sent
    cursor = got[-1]
    again = await joined(http, "lobby", after_seq=cursor)
    assert seqs(await again.take(sent + 1 - cursor)) == list(range(cursor + 1, sent + 2))


async def test_memory_of_unread_clients_is_freed(
    http: Http, proxy_config: proxy.Config, stuck: RawWebSocket
) -> None:
    """One exceeds its mailbox, one answers no ping, one is in a replay."""
    del stuck
    sender = await joined(http, "lobby")
    sent = await flood(sender, "stuck")
    config = replace(proxy_config, mailbox_bytes=1 << 30, heartbeat_seconds=1.0)
    async with serve_http(config) as lenient:
        with (
            closing(await RawWebSocket.connect(lenient)) as waiting,
            closing(await RawWebSocket.connect(lenient)) as replaying,
        ):
            await waiting.send(join={"room_id": "lobby"})
            for _ in range(600):
                await sender.say("lobby", TEXT)
            await sender.take(600)
            await replaying.send(join={"room_id": "lobby", "after_seq": 0})
            await eventually(lambda: transports(http) == 1 and transports(lenient) == 0)
            assert connections() == 1
        late = await joined(lenient, "lobby", after_seq=sent)
        assert len(await late.take(601)) == 601


async def test_slow_replay_is_awaited(http: Http) -> None:
    sender = await joined(http, "lobby")
    for _ in range(600):
        await sender.ask(chat_message=message("lobby", TEXT))
    with closing(await RawWebSocket.connect(http)) as slow:
        await slow.send(join={"room_id": "lobby", "after_seq": 0})
        await sender.barrier()
        # The replay far exceeds a client's mailbox, and yet it may take its time.
        for seq in range(601):
            frame = await slow.read_json()
            assert frame.get("chat_message", {}).get("seq", 0) == seq


async def test_slow_reader_gets_whole_replay(http: Http) -> None:
    """The next page is fetched only once there is room for it."""
    sender = await joined(http, "lobby")
    for _ in range(30):
        await sender.ask(chat_message=message("lobby", TEXT))
    with closing(await RawWebSocket.connect(http)) as slow:
        for number in range(30):
            await slow.send(get_chat_history={"room_id": "lobby"}, request_id=str(number))
        await sender.barrier()
        for number in range(30):
            frame = await slow.read_json()
            assert frame["request_id"] == str(number)
            assert len(frame["chat_history"]["messages"]) == 30


async def test_reset_during_replay_is_no_failure(
    connect: Connect, proxy_config: proxy.Config
) -> None:
    sender = await connect()
    for _ in range(1_000):
        await sender.say("lobby", TEXT)
    await sender.take_until_seq(1_000)
    # Not aiohttp's test server: that cancels a handler whose client is gone.
    async with proxy.serve(replace(proxy_config, host="127.0.0.1", port=0)) as running:
        with capture_logs() as logs:
            with closing(await RawWebSocket.open("127.0.0.1", running.port)) as client:
                await client.send(join={"room_id": "lobby", "after_seq": 0})
                # It is in the middle: more is to come than the buffers take.
                await eventually(lambda: max(waiting()) > _FULL)
                # Closing with unread bytes sends a reset.
            await eventually(lambda: "connection closed" in {log["event"] for log in logs})
    assert [log for log in logs if log["log_level"] in {"error", "critical"}] == []
