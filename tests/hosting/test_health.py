"""`python -m hosting.health`: health checks of both processes."""

import asyncio
import re
import socket

import pytest

import chat
import proxy
from hosting.health import Unhealthy, check
from tests.kit.processes import Ended, ended, run, running

SECONDS = 5.0


async def test_both_servers_are_healthy(
    chat_server: chat.RunningServer, chat_proxy: proxy.RunningProxy
) -> None:
    urls = (f"grpc://{chat_server.address}", f"{chat_proxy.url}healthz", f"{chat_proxy.url}readyz")
    commands = await asyncio.gather(*(run("hosting.health", url) for url in urls))
    commands.append(await run("hosting.health", HEALTH_URL=urls[0]))
    assert commands == [Ended(0, "", "")] * 4


async def test_proxy_without_server_is_alive_not_ready(unused_tcp_port: int) -> None:
    config = proxy.Config(host="127.0.0.1", port=0, upstream=f"127.0.0.1:{unused_tcp_port}")
    async with proxy.serve(config) as alone:
        await check(f"{alone.url}healthz", SECONDS)
        with pytest.raises(Unhealthy, match=r"answered 503: .*upstream unavailable"):
            await check(f"{alone.url}readyz", 2 * SECONDS)


async def test_stopped_server_is_unhealthy(chat_server: chat.RunningServer) -> None:
    await check(f"grpc://{chat_server.address}", SECONDS)
    await chat_server.drain()
    with pytest.raises(Unhealthy, match="cannot be asked"):
        await check(f"grpc://{chat_server.address}", SECONDS)


async def test_silent_server_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        for scheme in ("grpc", "http"):
            with pytest.raises(Unhealthy, match="no answer within"):
                await check(f"{scheme}://127.0.0.1:{port}", 0.2)


async def test_other_protocol_is_unhealthy(chat_server: chat.RunningServer) -> None:
    with pytest.raises(Unhealthy, match="not HTTP"):
        await check(f"http://{chat_server.address}/healthz", SECONDS)


async def test_health_failure_is_one_line(unused_tcp_port: int) -> None:
    command = await run("hosting.health", f"grpc://127.0.0.1:{unused_tcp_port}")
    assert (command.status, command.output) == (1, "")
    told = f"python -m hosting.health: .*{unused_tcp_port}.*cannot be asked.*\n"
    assert re.fullmatch(told, command.errors), command.errors


@pytest.mark.parametrize("url", ["", "127.0.0.1:50051", "ftp://a:1", "grpc://a", "http://a:b/"])
async def test_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL must be|[Pp]ort"):
        await check(url, SECONDS)


async def test_health_waits_for_a_starting_server(unused_tcp_port: int) -> None:
    url = f"grpc://127.0.0.1:{unused_tcp_port}"
    async with running("hosting.health", "--wait", "60", url) as waiting:
        with socket.create_server(("127.0.0.1", unused_tcp_port)) as listener:
            listener.setblocking(False)
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            connection.close()
        assert waiting.returncode is None
        config = chat.Config(host="127.0.0.1", port=unused_tcp_port, database=chat.IN_MEMORY)
        async with chat.serve(config):
            assert await ended(waiting) == Ended(0, "", "")
