"""Leaving `proxy.serve`: sends are confirmed, and clients get a close frame."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

import proxy
from gen.chat import ChatServiceStub, GetChatHistoryRequest
from proxy.http.routes import WEBSOCKETS
from tests.faults.link import Link
from tests.kit.processes import not_listening
from tests.kit.web import RawWebSocket
from tests.proxy.pauses import unready
from tests.proxy.web_client import Client, connect, contents, message, seqs

DRAIN_SECONDS = 2.0
# Longer than a test may take.
LONG = 10_000.0
# As in docs/options.md.
PAST_DRAIN_SECONDS = 5.0


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that outlives the proxy."""
    async with aiohttp.ClientSession() as session:
        yield session


@asynccontextmanager
async def serving(config: proxy.Config) -> AsyncIterator[tuple[proxy.RunningProxy, AsyncExitStack]]:
    """A proxy, and the exit stack that stops it."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(proxy.serve(config)), stack


def absent(port: int, **settings: float) -> proxy.Config:
    """The settings of a proxy whose server is away."""
    config = proxy.Config(host="127.0.0.1", port=0, upstream=f"127.0.0.1:{port}")
    return replace(config, **settings)  # type: ignore[arg-type]  # of seconds


async def test_drain_confirms_before_close(
    proxy_config: proxy.Config, session: aiohttp.ClientSession
) -> None:
    async with serving(proxy_config) as (running, stack):
        client = Client(await session.ws_connect(running.url))
        for number in range(50):
            await client.send(chat_message=message("lobby", str(number)), request_id=str(number))
        early = await client.barrier()
        stopping = asyncio.create_task(stack.aclose())
        frames = early + await client.take(50 - len(early))
        assert seqs(frames) == list(range(1, 51))
        assert [frame["request_id"] for frame in frames] == [str(number) for number in range(50)]
        assert await client.closed() == 1001
        await stopping


async def test_page_that_comes_behind_the_end_of_a_socket(proxy_config: proxy.Config) -> None:
    """A replay may be waiting for it as the proxy stops: it has nowhere to go, and is no defect."""
    server = TestServer(proxy.create_app(proxy_config))
    async with TestClient(server) as http:
        client = await connect(http)
        await client.barrier()
        assert server.app is not None
        [connection] = server.app[WEBSOCKETS]._open  # noqa: SLF001
        connection.socket.go_away()
        with pytest.raises(aiohttp.ClientConnectionResetError):
            await connection.socket.send_and_wait(b"{}")
        assert await client.closed() == 1001


async def test_drain_waits_for_absent_server(
    proxy_config: proxy.Config, session: aiohttp.ClientSession
) -> None:
    async with (
        Link.to(proxy_config.upstream) as link,
        serving(replace(proxy_config, upstream=link.address)) as (running, stack),
    ):
        client, reader = [Client(await session.ws_connect(running.url)) for _ in range(2)]
        for each in (client, reader):
            await each.ask(join={"room_id": "lobby"})
        link.cut()
        await client.say("lobby", "held")
        assert await client.barrier() == []
        stopping = asyncio.create_task(stack.aclose())
        await not_listening(running.port)
        link.restore()
        for each in (client, reader):
            assert contents([await each.receive()]) == ["held"]
            assert await each.closed() == 1001
        await stopping


async def test_drain_time_is_bounded(session: aiohttp.ClientSession, unused_tcp_port: int) -> None:
    config = absent(unused_tcp_port, drain_seconds=0.1)
    async with serving(config) as (running, stack):
        client = Client(await session.ws_connect(running.url))
        await client.say("lobby", "lost")
        assert await client.barrier() == []
        stopping = asyncio.create_task(stack.aclose())
        assert await client.closed() == 1001
        await stopping


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer token"}])
async def test_drain_interrupts_waiting_clients(
    session: aiohttp.ClientSession, unused_tcp_port: int, headers: dict[str, str]
) -> None:
    """One waits for the answer to a call, the other to be introduced to the server."""
    config = absent(unused_tcp_port, hold_seconds=LONG, call_seconds=LONG, drain_seconds=LONG)
    async with serving(config) as (running, stack):
        client = Client(await session.ws_connect(running.url, headers=headers))
        await client.send(list_users={})
        await unready(session, f"{running.url}readyz")
        stopping = asyncio.create_task(stack.aclose())
        assert await client.closed() == 1001
        await stopping


async def test_drain_ignores_unhandled_frames(
    proxy_config: proxy.Config, session: aiohttp.ClientSession, stub: ChatServiceStub
) -> None:
    async with (
        Link.to(proxy_config.upstream) as link,
        serving(replace(proxy_config, upstream=link.address)) as (running, stack),
    ):
        client, other = [Client(await session.ws_connect(running.url)) for _ in range(2)]
        link.cut()
        await unready(session, f"{running.url}readyz")
        await client.say("lobby", "before")
        await client.barrier()
        # The call waits for the server, and the messages behind it for the call.
        await client.send(list_users={})
        for _ in range(3):
            await client.say("lobby", "behind")
        await other.barrier()
        stopping = asyncio.create_task(stack.aclose())
        await not_listening(running.port)
        link.restore()
        # The answer to the call may come too late: it can be asked for again.
        frames = await client.take_until_closed()
        assert contents(frame for frame in frames if "chat_message" in frame) == ["before"]
        assert client.close_code == 1001
        await stopping
    history = await stub.get_chat_history(GetChatHistoryRequest("lobby"))
    assert [each.content for each in history.messages] == ["before"]


async def test_stop_keeps_its_time(
    proxy_config: proxy.Config, session: aiohttp.ClientSession
) -> None:
    """One client does not read, one waits for a room, one for its message."""
    async with Link.to(proxy_config.upstream) as link:
        config = replace(
            proxy_config,
            upstream=link.address,
            drain_seconds=DRAIN_SECONDS,
            hold_seconds=1000,
            mailbox_bytes=64 * 1024 * 1024,
        )
        async with serving(config) as (running, stack):
            stuck = await RawWebSocket.open(running.host, running.port)
            sender, other = [Client(await session.ws_connect(running.url)) for _ in range(2)]
            with closing(stuck):
                await stuck.send(join={"room_id": "lobby"})
                assert "joined" in await stuck.read_json()
                for _ in range(500):
                    await sender.say("lobby", "x" * 16_000)
                await sender.take(500)
                link.drop()
                await sender.say("lobby", "held")
                assert await sender.barrier() == []
                await other.send(request_id="refused")
                await other.send(join={"room_id": "another"})
                assert "error" in await other.receive()
                async with asyncio.timeout(DRAIN_SECONDS + PAST_DRAIN_SECONDS):
                    stopping = asyncio.create_task(stack.aclose())
                    assert [await each.closed() for each in (sender, other)] == [1001] * 2
                    await stopping


async def test_drain_delivers_to_busy_senders(
    proxy_config: proxy.Config, session: aiohttp.ClientSession
) -> None:
    """Closing a socket with unread frames would reset it, and lose the last frames sent."""
    async with serving(proxy_config) as (running, stack):
        sender = Client(await session.ws_connect(running.url))
        # More than the buffers of the system take.
        for _ in range(600):
            await sender.say("lobby", "x" * 16_000)
        await sender.take(600)
        late = await RawWebSocket.open(running.host, running.port)
        with closing(late):
            await late.send(join={"room_id": "lobby", "after_seq": 0})
            assert "joined" in await late.read_json()
            stopping = asyncio.create_task(stack.aclose())
            assert await sender.closed() == 1001
            for _ in range(100):
                await late.send(request_id="not handled any more")
            frames = await late.read_to_close()
            assert seqs(frame.json() for frame in frames[:-1]) == list(range(1, len(frames)))
            assert frames[-1].close_code == 1001

            await late.read_to_end()
        await stopping
