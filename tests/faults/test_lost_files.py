"""A server whose store takes no writes reports it, and stops if it never will again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession
from grpclib.client import Channel
from structlog.testing import capture_logs

import chat
import proxy
from gen.chat import ChatServiceStub, ErrorCode
from hosting.health import Unhealthy, check
from tests.kit.ports import free_ports
from tests.kit.processes import ended, ready_line, running
from tests.proxy.web_client import Client
from tests.proxy.web_client import message as frame
from tests.scraping import scrape
from tests.support import PATIENCE_SECONDS, ChatCall, eventually, message, no_file_grows_past

Trouble = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def chat_config(tmp_path: Path) -> chat.Config:
    folder = tmp_path / "data"
    return chat.Config(host="127.0.0.1", port=0, database=str(folder / "chat.db"), metrics_port=0)


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@contextmanager
def moved_away(database: Path) -> Iterator[None]:
    folder = database.parent
    away = folder.with_name("away")
    folder.rename(away)
    yield
    away.rename(folder)


@contextmanager
def full(database: Path) -> Iterator[None]:
    with no_file_grows_past(Path(f"{database}-wal").stat().st_size):
        yield


async def is_well(url: str) -> bool:
    try:
        await check(url, PATIENCE_SECONDS)
    except Unhealthy:
        return False
    return True


@pytest.mark.parametrize("trouble", [moved_away, full])
async def test_health_fails_while_store_refuses(
    chat_config: chat.Config,
    chat_server: chat.RunningServer,
    chat_proxy: proxy.RunningProxy,
    channel: Channel,
    session: ClientSession,
    trouble: Trouble,
) -> None:
    """The server recovers by itself, without a message."""
    server_url, proxy_url = f"grpc://{chat_server.address}", f"{chat_proxy.url}readyz"
    async with session.ws_connect(chat_proxy.url) as socket:
        client = Client(socket)
        assert "chat_message" in await client.ask(chat_message=frame("room"))
        await eventually(lambda: is_well(proxy_url))
        with capture_logs():
            with trouble(Path(chat_config.database)):
                refused = await client.ask(chat_message=frame("room"))
                assert (refused["error"]["code"], refused["error"]["retryable"]) == (
                    "UNAVAILABLE",
                    True,
                )
                async with ChatCall(ChatServiceStub(channel)) as ada:
                    ada.say(message(key="1"))
                    assert (await ada.receive()).error.code == ErrorCode.UNAVAILABLE
                with pytest.raises(Unhealthy, match="answered NOT_SERVING"):
                    await check(server_url, PATIENCE_SECONDS)
                await eventually(lambda: is_unwell(proxy_url))
                assert (await scrape(chat_server.status_url))("chat_store_serving") == 0
            await eventually(lambda: is_well(server_url))
            await eventually(lambda: is_well(proxy_url))
        assert (await scrape(chat_server.status_url))("chat_store_serving") == 1
        await client.send(request_id="last", chat_message=frame("room"))
        # Before it, the refused messages that are back with the files arrive.
        answer = await client.receive()
        while answer.get("request_id") != "last":
            answer = await client.receive()
        assert "chat_message" in answer
    assert not chat_server.failed.is_set()


async def is_unwell(url: str) -> bool:
    return not await is_well(url)


async def test_proxy_shares_one_health_answer(
    chat_server: chat.RunningServer, chat_proxy: proxy.RunningProxy, session: ClientSession
) -> None:
    url = f"{chat_proxy.url}readyz"
    await eventually(lambda: is_well(url))

    async def ask() -> int:
        async with session.get(url) as response:
            return response.status

    before = await health_calls(chat_server)
    assert set(await asyncio.gather(*(ask() for _ in range(100)))) == {200}
    # One, or some more if that took longer than an answer stays valid.
    assert await health_calls(chat_server) - before < 20


async def health_calls(server: chat.RunningServer) -> float:
    told = await scrape(server.status_url)
    return told("chat_calls_total", method="/grpc.health.v1.Health/Check", status="OK")


async def test_server_stops_if_database_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    options = ("--host", "127.0.0.1", "--database", str(folder / "chat.db"))
    ports = free_ports(2)
    async with running("chat", *options, "--port", str(ports[0])) as first:
        await ready_line(first)
        for each in folder.iterdir():
            each.unlink()
        async with running("chat", *options, "--port", str(ports[1])) as second:
            await ready_line(second)
            end = await ended(first)
            assert end.status == 1
            [*_, line] = end.errors.splitlines()
            assert line.startswith("python -m chat: stopped: another process has taken ")
            assert "level=error" in end.errors
            assert "Traceback" not in end.errors
            assert await is_well(f"grpc://127.0.0.1:{ports[1]}")
            second.terminate()
            assert (await ended(second)).status == 0
