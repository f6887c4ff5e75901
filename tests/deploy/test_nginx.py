"""The configuration of nginx in `deploy/`, in a real nginx before real servers."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from grpclib import GRPCError, Status

import chat
import proxy
from gen.chat import (
    ChatServiceStub,
    GetChatHistoryRequest,
    GetUserRequest,
    Join,
    RelayCommand,
    RelayServiceStub,
)
from proxy.errors import CloseCode
from proxy.page.source import STATIC
from tests.deploy.nginx import Front, running
from tests.kit.ports import free_ports, has_ipv6
from tests.proxy.web_client import Client
from tests.support import PATIENCE_SECONDS, ChatCall, RelayCall, message, seqs

Start = Callable[..., AbstractAsyncContextManager[Front]]


@pytest.fixture(params=["chat-plain", "chat-tls"])
def variant(request: pytest.FixtureRequest) -> str:
    """The variant of the configuration."""
    name: str = request.param
    return name


@pytest.fixture
def start(tmp_path: Path, variant: str) -> Callable[..., AbstractAsyncContextManager[Front]]:
    """Runs nginx before a proxy and a chat server at these addresses."""

    def start(proxy_address: str, chat_address: str, **more: str) -> Any:
        defaults = proxy.Config()
        changes = {f"127.0.0.1:{defaults.port}": proxy_address, defaults.upstream: chat_address}
        ports = free_ports(2)
        return running(tmp_path / "nginx", variant, ports, changes | more)

    return start


def address(running: proxy.RunningProxy) -> str:
    return f"{running.host}:{running.port}"


@pytest.fixture
async def front(
    start: Start, chat_server: chat.RunningServer, chat_proxy: proxy.RunningProxy
) -> AsyncIterator[Front]:
    """Nginx before both servers."""
    async with start(address(chat_proxy), chat_server.address) as front:
        yield front


@pytest.fixture
async def session(front: Front) -> AsyncIterator[aiohttp.ClientSession]:
    async with client_of(front) as session:
        yield session


def client_of(front: Front, address: str | None = None) -> aiohttp.ClientSession:
    """An HTTP client, which may come from another address of this machine."""
    local = None if address is None else (address, 0)
    connector = aiohttp.TCPConnector(ssl=front.tls or True, local_addr=local)
    return aiohttp.ClientSession(front.web, connector=connector)


# The page and the WebSocket.


async def test_conversation_through_nginx(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("/") as one, session.ws_connect("/") as two:
        ada, ben = Client(one), Client(two)
        for client in (ada, ben):
            assert "joined" in await client.ask(join={"room_id": "lobby"})
        await ada.say("lobby", "hello")
        await ben.take_until_content("hello")
        await ben.say("lobby", "good day", "ben")
        for client in (ada, ben):
            assert (await client.take_until_content("good day"))[-1]["chat_message"]["seq"] == 2


async def test_large_frames_pass_whole(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("/") as socket:
        client = Client(socket)
        content = "\N{SNOWMAN}" * (chat.Limits().content_bytes // 3)
        for _ in range(20):
            await client.say("lobby", content)
        frames = await client.take(20)
        assert [frame["chat_message"]["content"] for frame in frames] == [content] * 20
        answer = await client.ask(get_chat_history={"room_id": "lobby"})
        assert len(answer["chat_history"]["messages"]) == 20


async def test_oversized_frame_keeps_close_code(
    session: aiohttp.ClientSession,
) -> None:
    """Although much of it is on the way when the proxy, and then nginx, closes."""
    async with session.ws_connect("/") as socket:
        await socket.send_str(" " * (1 << 21))
        assert await Client(socket).closed() == CloseCode.MESSAGE_TOO_BIG


async def test_drain_keeps_close_code(
    start: Start, chat_server: chat.RunningServer, proxy_config: proxy.Config
) -> None:
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(proxy.serve(proxy_config))
        async with (
            start(address(door), chat_server.address) as front,
            client_of(front) as session,
            session.ws_connect("/") as socket,
        ):
            assert "joined" in await Client(socket).ask(join={"room_id": "lobby"})
            closed = asyncio.create_task(Client(socket).closed())
            await stack.aclose()
            assert await closed == CloseCode.GOING_AWAY


@pytest.mark.parametrize("variant", ["chat-plain"], indirect=True)
@pytest.mark.parametrize(("heartbeat_seconds", "pings"), [(2.0, 3), (1000.0, 0)])
async def test_pings_keep_silent_connection_open(
    start: Start, chat_server: chat.RunningServer, proxy_config: proxy.Config,
    heartbeat_seconds: float, pings: int,
) -> None:  # fmt: skip
    """Nginx drops silent connections; here after four seconds."""
    config = replace(proxy_config, heartbeat_seconds=heartbeat_seconds)
    short = {"proxy_read_timeout 120s": "proxy_read_timeout 4s"}
    async with (
        proxy.serve(config) as door,
        start(address(door), chat_server.address, **short) as front,
        client_of(front) as session,
        session.ws_connect("/", autoping=False) as socket,
    ):
        client = Client(socket)
        assert "joined" in await client.ask(join={"room_id": "lobby"})
        for _ in range(pings):
            received = await socket.receive(PATIENCE_SECONDS)
            assert received.type is WSMsgType.PING
            await socket.pong(received.data)
        if pings:
            await client.say("lobby", "still here")
            assert (await client.receive())["chat_message"]["seq"] == 1
        else:
            assert await client.closed() == WSCloseCode.ABNORMAL_CLOSURE


async def test_page_and_its_parts(session: aiohttp.ClientSession) -> None:
    async with session.get("/") as page, session.get("/static/js/main.js") as script:
        assert (page.status, page.content_type) == (200, "text/html")
        assert b"<style>" in await page.read()
        assert script.status == 200
        assert await script.read() == (STATIC / "js" / "main.js").read_bytes()
        etag = script.headers["ETag"]
    async with session.get("/static/js/main.js", headers={"If-None-Match": etag}) as again:
        assert again.status == 304


async def test_other_paths_are_hidden(session: aiohttp.ClientSession) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/index.html", "/staticky"):
        async with session.get(path) as answer:
            assert answer.status == 404


async def test_other_host_name_is_not_served(front: Front, session: aiohttp.ClientSession) -> None:
    """Debian's default server takes requests to port 80 for unknown names."""
    for name, status in ((front.host, {200, 308}), ("other.example.org", {418})):
        async with session.get(
            front.insecure or front.web, headers={"Host": name}, allow_redirects=False
        ) as answer:
            assert answer.status in status


async def test_forwarded_headers_name_the_client(
    start: Start, chat_server: chat.RunningServer
) -> None:
    """An echo server stands where the proxy would."""

    async def headers(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    app = web.Application()
    app.router.add_get("/", headers)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with start(f"{host}:{port}", chat_server.address) as front:
            claimed = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "gopher"}
            async with client_of(front) as session, session.get("/", headers=claimed) as answer:
                told = await answer.json()
    finally:
        await runner.cleanup()
    scheme, _, authority = front.web.partition("://")
    assert told["X-Forwarded-For"] == "127.0.0.1"
    assert told["X-Forwarded-Proto"] == scheme
    assert told["Host"] == authority


async def test_connections_per_address_are_bounded(
    start: Start, chat_server: chat.RunningServer, chat_proxy: proxy.RunningProxy
) -> None:
    few = {"limit_conn chat_open 200": "limit_conn chat_open 2"}
    async with (
        start(address(chat_proxy), chat_server.address, **few) as front,
        client_of(front) as session,
        session.ws_connect("/"),
        session.ws_connect("/"),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/")
    assert refused.value.status == 429


@pytest.mark.skipif(sys.platform != "linux", reason="loopback has one address elsewhere")
@pytest.mark.parametrize(("trusted", "status"), [(("127.0.0.1",), 101), ((), 429)])
async def test_trusted_nginx_keeps_client_limits(
    start: Start, chat_server: chat.RunningServer, proxy_config: proxy.Config,
    trusted: tuple[str, ...], status: int,
) -> None:  # fmt: skip
    """Otherwise all clients share nginx's address, and its limits."""
    admission = proxy.AdmissionRules(trusted_proxies=trusted, connections_per_address=1)
    async with (
        proxy.serve(replace(proxy_config, admission=admission)) as door,
        start(address(door), chat_server.address) as front,
        client_of(front, "127.0.0.2") as one,
        client_of(front, "127.0.0.3") as other,
        one.ws_connect("/") as socket,
    ):
        assert "joined" in await Client(socket).ask(join={"room_id": "lobby"})
        assert await handshake(one) == 429
        assert await handshake(other) == status


async def handshake(session: aiohttp.ClientSession) -> int:
    """Opens a WebSocket; returns 101, or the status of the refusal."""
    try:
        async with session.ws_connect("/"):
            return 101
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status


@pytest.mark.parametrize("variant", ["chat-tls"], indirect=True)
async def test_plain_http_redirects_to_tls(front: Front, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{front.insecure}/?room=a", allow_redirects=False) as answer:
        assert answer.status == 308
        assert answer.headers["Location"] == "https://127.0.0.1/?room=a"


@pytest.mark.parametrize("trusted", [("127.0.0.1",), ()])
async def test_hsts_header_is_sent_once(
    start: Start, chat_server: chat.RunningServer, proxy_config: proxy.Config,
    trusted: tuple[str, ...], variant: str,
) -> None:  # fmt: skip
    """A proxy that trusts nginx sends it too."""
    admission = proxy.AdmissionRules(trusted_proxies=trusted)
    said = ["max-age=31536000"] if variant == "chat-tls" else []
    async with (
        proxy.serve(replace(proxy_config, admission=admission)) as door,
        start(address(door), chat_server.address) as front,
        client_of(front) as session,
    ):
        for path in ("/", "/static/js/main.js", "/nothing"):
            async with session.get(path) as answer:
                assert answer.headers.getall("Strict-Transport-Security", []) == said


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6")
async def test_ipv6_client_is_served(front: Front, session: aiohttp.ClientSession) -> None:
    for url, status in ((front.web, 200), (front.insecure, 308)):
        if not url:
            continue
        async with session.get(
            url.replace("127.0.0.1", "[::1]"), headers={"Host": front.host},
            allow_redirects=False, server_hostname=front.host if front.tls else None,
        ) as answer:  # fmt: skip
            assert answer.status == status
    async with front.channel("::1") as channel:
        history = await ChatServiceStub(channel).get_chat_history(GetChatHistoryRequest("lobby"))
        assert history.messages == []


# gRPC.


async def test_grpc_calls_keep_their_status(front: Front) -> None:
    async with front.channel() as channel:
        stub = ChatServiceStub(channel)
        async with ChatCall(stub) as ada:
            assert (await ada.post(message("lobby", "hello"))).seq == 1
        # One after the other, on connections that nginx keeps.
        for _ in range(100):
            history = await stub.get_chat_history(GetChatHistoryRequest("lobby"))
            assert seqs(history.messages) == [1]
        with pytest.raises(GRPCError) as missing:
            await stub.get_user(GetUserRequest("nobody"))
        assert missing.value.status is Status.NOT_FOUND
        assert "nobody" in (missing.value.message or "")


async def test_grpc_stream_in_both_directions(front: Front) -> None:
    async with front.channel() as channel, front.channel() as other:
        ben_stub = ChatServiceStub(other)
        async with ChatCall(ChatServiceStub(channel)) as ada, ChatCall(ben_stub) as ben:
            await ada.enter("lobby")
            await ben.enter("lobby")
            # More than nginx takes for the body of a request by default.
            content = "x" * chat.Limits().content_bytes
            for number in range(1, 101):
                posted = await ada.post(message("lobby", content))
                assert (posted.seq, posted.content) == (number, content)
            assert seqs(await ben.hear_many(100)) == list(range(1, 101))
            ada.end()
            assert await ada.rest() == ([], Status.OK)


@pytest.mark.parametrize("variant", ["chat-plain"], indirect=True)
async def test_silent_grpc_stream_stays_open(
    start: Start, chat_server: chat.RunningServer, chat_proxy: proxy.RunningProxy
) -> None:
    short = {f"client_{part}_timeout {gap}10s": f"client_{part}_timeout 1s"
             for part, gap in (("header", ""), ("body", "  "))}  # fmt: skip
    async with (
        start(address(chat_proxy), chat_server.address, **short) as front,
        front.channel() as channel,
        ChatCall(ChatServiceStub(channel)) as ada,
    ):
        await ada.enter("lobby")
        for _ in range(2):
            await request_given_up(front)
        assert (await ada.post(message("lobby", "still here"))).seq == 1


async def request_given_up(front: Front) -> None:
    """Sends half a request, and waits until nginx gives up."""
    reader, writer = await asyncio.open_connection(front.host, int(front.web.split(":")[2]))
    writer.write(f"POST / HTTP/1.1\r\nHost: {front.host}\r\nContent-Length: 1\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_drain_keeps_grpc_status(front: Front, chat_server: chat.RunningServer) -> None:
    async with front.channel() as channel, ChatCall(ChatServiceStub(channel)) as ada:
        await ada.enter("lobby")
        await ada.post(message("lobby", "last words"))
        await chat_server.drain()
        assert await ada.rest() == ([], Status.UNAVAILABLE)


async def test_absent_server_is_unavailable(
    start: Start, chat_proxy: proxy.RunningProxy, unused_tcp_port: int
) -> None:
    async with (
        start(address(chat_proxy), f"127.0.0.1:{unused_tcp_port}") as front,
        front.channel() as channel,
    ):
        with pytest.raises(GRPCError) as away:
            await ChatServiceStub(channel).get_user(GetUserRequest("ada"))
    assert away.value.status is Status.UNAVAILABLE


async def test_relay_service_is_hidden(front: Front) -> None:
    async with front.channel() as channel, RelayCall(RelayServiceStub(channel)) as relay:
        relay.batch(RelayCommand(ref=1, join=Join("lobby")))
        assert await relay.rest() == ([], Status.UNIMPLEMENTED)
