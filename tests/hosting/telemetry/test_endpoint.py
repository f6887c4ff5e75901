"""The metrics port: its pages, its guards, and a port in use."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import aiohttp
import pytest

import chat
import proxy


@pytest.fixture
def chat_config() -> chat.Config:
    """A server with a metrics port, on a free one."""
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY, metrics_port=0)


async def test_endpoint_pages(chat_server: chat.RunningServer) -> None:
    async with aiohttp.ClientSession(chat_server.status_url) as session:
        async with session.get("/healthz") as response:
            assert (response.status, await response.json()) == (200, {"status": "alive"})
        async with session.get("/status.json") as response:
            assert (await response.json())["title"] == "Chat server"
        async with session.get("/") as response:
            assert response.content_type == "text/html"
        for path in set(re.findall(r'"(/static/[^"]+)"', await page(session))):
            async with session.get(path) as response:
                assert response.status == 200, path
        async with session.get("/nothing") as response:
            assert response.status == 404


async def page(session: aiohttp.ClientSession) -> str:
    """The status page."""
    async with session.get("/") as response:
        return await response.text()


async def test_answers_have_security_headers(chat_server: chat.RunningServer) -> None:
    async with aiohttp.ClientSession(chat_server.status_url) as session:
        for path in ("/", "/metrics", "/status.json", "/static/page.js", "/nothing"):
            async with session.get(path) as got:
                assert got.headers["Content-Security-Policy"].startswith("default-src 'self';")
                assert got.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert got.headers["X-Content-Type-Options"] == "nosniff"
                assert got.headers["Cache-Control"] == "no-store"


async def test_format_is_negotiated(chat_server: chat.RunningServer) -> None:
    async with aiohttp.ClientSession(chat_server.status_url) as session:
        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            async with session.get("/metrics", headers={"Accept": accept}) as response:
                assert response.content_type == accept.partition(";")[0]
                text = await response.text()
            assert text.endswith("# EOF\n") == ("openmetrics" in accept)


HOSTS = {
    "localhost": 200,
    "127.0.0.1:9464": 200,
    "[::1]": 200,
    "rebound.example": 421,
    "127.0.0.1.example": 421,
    "192.0.2.1": 421,
    "[": 421,
    "": 421,
}


async def test_loopback_answers_to_local_names_only(chat_server: chat.RunningServer) -> None:
    async with aiohttp.ClientSession(chat_server.status_url) as session:
        for (host, status), path in product(HOSTS.items(), ("/", "/status.json", "/metrics")):
            async with session.get(path, headers={"Host": host}) as response:
                assert response.status == status, (host, path)


async def test_other_addresses_answer_to_any_name(chat_config: chat.Config) -> None:
    config = replace(chat_config, metrics_host="0.0.0.0")  # noqa: S104 - what is tested
    async with chat.serve(config) as server, aiohttp.ClientSession() as session:
        url = server.status_url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - what is tested
        async with session.get(f"{url}metrics", headers={"Host": "chat:9464"}) as response:
            assert response.status == 200


async def test_servers_in_one_process_count_apart(
    chat_config: chat.Config, chat_server: chat.RunningServer
) -> None:
    async with chat.serve(chat_config) as other:
        assert other.status_url != chat_server.status_url


async def test_no_port_serves_nothing(chat_config: chat.Config) -> None:
    async with chat.serve(replace(chat_config, metrics_port=None)) as server:
        assert server.status_url == ""


async def test_port_closes_with_the_server(chat_config: chat.Config) -> None:
    async with chat.serve(chat_config) as server:
        url = server.status_url
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


@pytest.mark.parametrize("port", [-1, 65536])
@pytest.mark.parametrize("config", [chat.Config, proxy.Config])
def test_invalid_port_is_named(config: Callable[..., object], port: int) -> None:
    with pytest.raises(ValueError, match="metrics-port must be from 0 to 65535, or off"):
        config(metrics_port=port)
