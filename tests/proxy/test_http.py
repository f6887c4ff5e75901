"""What the proxy serves beside the chat."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import ClientSession, TCPConnector

import proxy
from tests.proxy.clients import (
    Client,
    Connect,
    Http,
    message,
    seqs,
    serve_http,
)


async def test_the_page(http: Http) -> None:
    async with http.get("/") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert response.headers["Cache-Control"] == "no-cache"
        assert "<html" in await response.text()


async def test_the_parts_of_the_page(http: Http) -> None:
    async with http.get("/static/style.css") as response:
        assert response.status == 200
        assert response.content_type == "text/css"
    async with http.get("/static/../config.py") as response:
        assert response.status == 404


async def test_alive_and_ready(http: Http, connect: Connect) -> None:
    await (await connect()).ask(list_users={})
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        async with http.get(path) as response:
            assert response.status == 200
            assert await response.json() == {"status": status}


async def test_alive_but_not_ready_without_a_server(unused_tcp_port: int) -> None:
    async with serve_http(proxy.Config(upstream=f"127.0.0.1:{unused_tcp_port}")) as http:
        async with http.get("/healthz") as response:
            assert response.status == 200
        async with http.get("/readyz") as response:
            assert response.status == 503
        async with http.get("/") as response:
            assert response.status == 200


@pytest.mark.parametrize("path", ["/nothing", "/static/nothing"])
async def test_what_is_not_there(http: Http, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 404


async def test_a_proxy_serves_on_a_port_of_its_own(chat_proxy: proxy.RunningProxy) -> None:
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        async with session.ws_connect(chat_proxy.url) as socket:
            answer = await Client(socket).ask(chat_message=message("lobby"))
            assert seqs([answer]) == [1]
        async with session.get(f"{chat_proxy.url}healthz") as response:
            assert response.status == 200


async def test_each_address_of_a_host_has_the_same_port(proxy_config: proxy.Config) -> None:
    config = proxy.Config(host="localhost", port=0, upstream=proxy_config.upstream)
    found = await asyncio.get_running_loop().getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    async with proxy.serve(config) as running, ClientSession() as session:
        assert running.url == f"http://localhost:{running.port}/"
        for family, _, _, _, (address, *_) in found:
            host = f"[{address}]" if family == socket.AF_INET6 else address
            async with session.get(f"http://{host}:{running.port}/healthz") as response:
                assert response.status == 200


async def test_the_address_of_an_ipv6_host() -> None:
    assert proxy.RunningProxy("::1", 8080).url == "http://[::1]:8080/"
