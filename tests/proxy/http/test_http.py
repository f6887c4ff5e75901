"""HTTP resources of the proxy beside the chat."""

import asyncio
import re
import socket
from dataclasses import replace

from aiohttp import ClientSession

import proxy
from proxy.http import security_headers
from tests.kit.ports import has_ipv6
from tests.proxy.web_client import Connect, Http, visitor
from tests.support import PATIENCE_SECONDS


async def test_health_and_readiness(http: Http, connect: Connect) -> None:
    await (await connect()).ask(list_users={})
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        async with http.get(path) as response:
            assert response.status == 200
            assert await response.json() == {"status": status}


async def test_host_addresses_share_one_port(proxy_config: proxy.Config) -> None:
    config = proxy.Config(host="localhost", port=0, upstream=proxy_config.upstream)
    found = await asyncio.get_running_loop().getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    async with proxy.serve(config) as running, ClientSession() as session:
        assert running.url == f"http://localhost:{running.port}/"
        for family, _, _, _, (address, *_) in found:
            if family == socket.AF_INET6 and not has_ipv6():
                continue
            host = f"[{address}]" if family == socket.AF_INET6 else address
            async with session.get(f"http://{host}:{running.port}/healthz") as response:
                assert response.status == 200


async def test_ipv6_address_is_bracketed() -> None:
    assert proxy.RunningProxy("::1", 8080).url == "http://[::1]:8080/"


ANSWERS = [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
    (b"what is this\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", 400),
]


async def test_each_answer_has_a_policy(proxy_config: proxy.Config) -> None:
    async with proxy.serve(replace(proxy_config, connections=1)) as running:
        for request, status in ANSWERS:
            await check_policy(running, request, status)
        async with visitor(running.url):
            await check_policy(running, b"", 503)


async def check_policy(running: proxy.RunningProxy, request: bytes, status: int) -> None:
    head = await answer_of(running, request)
    assert head.split()[1] == str(status), request
    # The page's own names the style sheet in it.
    head = re.sub(" 'sha256-[A-Za-z0-9+/]{43}='", "", head, count=1)
    for name, value in security_headers.ALWAYS.items():
        assert f"\r\n{name}: {value}\r\n" in head


async def answer_of(running: proxy.RunningProxy, request: bytes) -> str:
    """The head of the answer to any bytes."""
    reader, writer = await asyncio.open_connection(running.host, running.port)
    writer.write(request)
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.decode()
