"""The metrics port: its pages, its guards, and a port in use."""

import re
import socket
from dataclasses import replace

import aiohttp
import pytest

import chat
import proxy
from hosting.telemetry.endpoint import UnusableMetricsPort
from tests.kit.processes import ready_line, running
from tests.support import PATIENCE_SECONDS

LOOPBACK = {"CHAT_HOST": "127.0.0.1", "CHAT_PORT": "0", "CHAT_DATABASE": ":memory:"}


@pytest.fixture
def chat_config() -> chat.Config:
    """A server with a metrics port, on a free one."""
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY, metrics_port=0)


@pytest.fixture
def taken() -> socket.socket:
    """A port in use."""
    return socket.create_server(("127.0.0.1", 0))


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


@pytest.mark.parametrize("path", ["/", "/metrics", "/status.json", "/static/page.js", "/nothing"])
async def test_answers_have_security_headers(chat_server: chat.RunningServer, path: str) -> None:
    async with aiohttp.ClientSession(chat_server.status_url) as session, session.get(path) as got:
        assert got.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert got.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
async def test_format_is_negotiated(chat_server: chat.RunningServer, accept: str) -> None:
    async with aiohttp.ClientSession(chat_server.status_url) as session:
        async with session.get("/metrics", headers={"Accept": accept}) as response:
            kind, _, _ = accept.partition(";")
            assert response.content_type == kind
            text = await response.text()
        assert text.endswith("# EOF\n") == ("openmetrics" in accept)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]", 200),
        ("rebound.example", 421),
        ("127.0.0.1.example", 421),
        ("192.0.2.1", 421),
        ("[", 421),
        ("", 421),
    ],
)
async def test_loopback_answers_to_local_names_only(
    chat_server: chat.RunningServer, host: str, status: int
) -> None:
    async with aiohttp.ClientSession(chat_server.status_url) as session:
        for path in ("/", "/status.json", "/metrics"):
            async with session.get(path, headers={"Host": host}) as response:
                assert response.status == status


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


async def test_port_in_use_is_named(chat_config: chat.Config, taken: socket.socket) -> None:
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnusableMetricsPort, match=rf"127.0.0.1:{port} for metrics"):
            async with chat.serve(replace(chat_config, metrics_port=port)):
                pass
        config = proxy.Config(host="127.0.0.1", port=0, metrics_port=port)
        with pytest.raises(UnusableMetricsPort, match=rf"127.0.0.1:{port} for metrics"):
            async with proxy.serve(config):
                pass


@pytest.mark.parametrize("port", [-1, 65536])
def test_invalid_port_is_named(port: int) -> None:
    with pytest.raises(ValueError, match="metrics-port must be from 0 to 65535, or off"):
        chat.Config(metrics_port=port)
    with pytest.raises(ValueError, match="metrics-port must be from 0 to 65535, or off"):
        proxy.Config(metrics_port=port)


async def test_command_logs_its_port() -> None:
    async with running("chat", "--metrics-port", "0", **LOOPBACK) as process:
        await ready_line(process)
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        found = re.search(r'event="metrics and status page" url=(http://127\.0\.0\.1:\d+/)', line)
        assert found, line
        timeout = aiohttp.ClientTimeout(PATIENCE_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{found[1]}healthz") as response,
        ):
            assert response.status == 200
