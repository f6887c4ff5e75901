"""Clients that attack the proxy's port: bounds hold, others are served, nothing stays behind."""

import asyncio
import gc
import json
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from structlog.testing import capture_logs

import chat
import proxy
from proxy.clients.connection import Connection
from proxy.clients.turns import FREE_WORK, TURN_WORK
from proxy.core.room import Room
from proxy.http.listener import HEADERS, REQUEST_BYTES, HttpConnection
from tests.faults.bystanders import Bystanders
from tests.faults.remains import no_complaints, nothing_stays
from tests.kit.web import (
    RawWebSocket,
    Wire,
    answer_to,
    get,
    handshake,
    masked,
    post,
    request,
    status,
)
from tests.proxy.web_client import Client
from tests.scraping import Scrape, scrape_until
from tests.support import PATIENCE_SECONDS, eventually

# The objects of each connection and each room.
KINDS = (HttpConnection, web.Request, web.WebSocketResponse, Connection, Room)
CONTINUATION = int(WSMsgType.CONTINUATION)
HOST = "Host: localhost"
CLOSE = "Connection: close"


def objects() -> int:
    """Number of connections and rooms made since the test began and still held."""
    gc.collect()
    return sum(isinstance(each, KINDS) for each in gc.get_objects())


def visitors() -> int:
    """Number of open connections made since the test began."""
    return sum(isinstance(each, HttpConnection) and each.connected for each in gc.get_objects())


@pytest.fixture
def chat_config() -> chat.Config:
    """A server in memory: the proxy is the one attacked."""
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


Logs = list[MutableMapping[str, Any]]


def events(logs: Logs) -> list[str]:
    """Logged events of interest to an operator."""
    return [entry["event"] for entry in logs if entry["log_level"] != "debug"]


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Log lines of the proxy since the test began."""
    with capture_logs() as found:
        yield found


@pytest.fixture
async def bystanders(
    chat_proxy: proxy.RunningProxy, logs: Logs, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Bystanders]:
    """Bystanders of a proxy that must log nothing, and hold nothing at the end."""
    async with aiohttp.ClientSession() as session:
        with no_complaints(caplog, logs, quiet=("debug", "info")):
            found = await Bystanders.meet(session, chat_proxy.port)
            logs.clear()
            async with nothing_stays(objects):
                yield found
                await found.check()
            await found.part()


@pytest.fixture
def port(chat_proxy: proxy.RunningProxy, bystanders: Bystanders) -> int:  # noqa: ARG001
    """The port to attack."""
    return chat_proxy.port


# Requests.

REQUESTS = {
    # Two lengths have let requests be smuggled: RFC 9112, section 6.3.
    "two lengths": (post("Content-Length: 5", "Content-Length: 6", body=b"hello!"), 400),
    "a list of lengths": (post("Content-Length: 5, 5", body=b"hello"), 400),
    "a length and chunks": (
        post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        400,
    ),
    "another coding": (post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    "chunked not last": (post("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), 400),
    "a chunk of no size": (post("Transfer-Encoding: chunked", body=b"zz\r\n\r\n"), 400),
    "a chunk of -1": (post("Transfer-Encoding: chunked", body=b"-1\r\n\r\n"), 400),
    "a chunk of 2**64": (post("Transfer-Encoding: chunked", body=b"1" + b"0" * 16 + b"\r\n"), 400),
    "a negative length": (post("Content-Length: -5"), 400),
    "a signed length": (post("Content-Length: +5", body=b"hello"), 400),
    "a length of many digits": (post("Content-Length: " + "9" * 30), 400),
    "a folded header": (get("/", "X: a", " b"), 400),
    "a blank before the colon": (get("/", "X : a"), 400),
    "a header without a colon": (get("/", "hello"), 400),
    "NUL in a header": (get("/", "X: a\0b"), 400),
    "CR in a header": (get("/", "X: a\rY: b"), 400),
    "an escape in a header": (get("/", "X: a\x1b[31mb"), 400),
    "lines without CR": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "lines without LF": (b"GET / HTTP/1.1\rHost: localhost\r\r", 400),
    "no host": (request("GET / HTTP/1.1", CLOSE), 400),
    "two hosts": (get("/", HOST), 400),
    "a long target": (get("/" + "a" * 9000), 400),
    "a long header": (get("/", "X: " + "a" * 9000), 400),
    "a long name": (get("/", "X" * 9000 + ": a"), 400),
    "many headers": (get("/", *(f"X-{n}: a" for n in range(HEADERS + 1))), 400),
    "an unknown method": (request("LOOK / HTTP/1.1", HOST, CLOSE), 400),
    "no method": (request(" / HTTP/1.1", HOST, CLOSE), 400),
    "an escape in the method": (request("G\x1bT / HTTP/1.1", HOST, CLOSE), 400),
    "an escape in the target": (get("/\x1b[31m"), 400),
    "a target that is not ASCII": (get("/\xff\xfe"), 400),
    "a target without an end": (get("http://[::1"), 400),
    "a port of many digits": (get("http://localhost:99999999/"), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/3.0": (request("GET / HTTP/3.0", HOST, CLOSE), 400),
    "TLS": (bytes.fromhex("1603010200010001fc0303") + bytes(200), 400),
    "every byte": (bytes(range(256)), 400),
    "another method": (request("DELETE / HTTP/1.1", HOST, CLOSE), 405),
    "TRACE": (request("TRACE / HTTP/1.1", HOST, CLOSE), 405),
    "CONNECT": (request("CONNECT evil.example:1 HTTP/1.1", HOST, CLOSE), 404),
    "OPTIONS *": (request("OPTIONS * HTTP/1.1", HOST, CLOSE), 404),
    "a body": (post("Content-Length: 5", body=b"hello"), 405),
    "a body that is no gzip": (
        post("Content-Encoding: gzip", "Content-Length: 2", body=b"hi"),
        405,
    ),
    "an expectation": (get("/", "Expect: miracles"), 417),
    "a range past the end": (get("/", f"Range: bytes={'9' * 30}-"), 200),
    "many ranges": (get("/", "Range: bytes=" + ",".join(["0-0"] * 500)), 200),
    "a range past the end of a file": (
        get("/static/style/base.css", f"Range: bytes={'9' * 30}-"),
        416,
    ),
    "many ranges of a file": (
        get("/static/style/base.css", "Range: bytes=" + ",".join(["0-0"] * 500)),
        416,
    ),
    "a date that is none": (get("/", "If-Modified-Since: Fri, 31 Dec 9999999 23:59:59 GMT"), 200),
    "a tag that is none": (get("/", 'If-None-Match: W/"\xff'), 200),
    # The files beside the page.
    "dots": (get("/static/../config.py"), 404),
    "escaped dots": (get("/static/%2e%2e/config.py"), 404),
    "an escaped slash": (get("/static/..%2fconfig.py"), 404),
    "a backslash": (get("/static/..%5cconfig.py"), 404),
    "dots escaped twice": (get("/static/%252e%252e/config.py"), 404),
    "an absolute path": (get("/static//etc/passwd"), 404),
    "an escaped absolute path": (get("/static/%2fetc/passwd"), 404),
    "NUL in a path": (get("/static/index.html%00.js"), 404),
    "half a character": (get("/static/%ed%a0%80"), 404),
    "a name too long for the disk": (get("/static/" + "a" * 5000), 404),
    "a path too long for the disk": (get("/static/" + "a/" * 3000), 404),
    "a folder": (get("/static/js"), 404),
    "a file taken for a folder": (get("/static/index.html/x"), 404),
    "lines in a path": (get("/%0d%0aSet-Cookie:%20a=b"), 404),
}

HANDSHAKES = {
    "no version": handshake(Sec_WebSocket_Version=None),
    "two versions": handshake(X="a\r\nSec-WebSocket-Version: 13"),
    "two keys": handshake(X="a\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    "HTTP/1.0": handshake().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no key": handshake(Sec_WebSocket_Key=None),
    "an empty key": handshake(Sec_WebSocket_Key=""),
    "a short key": handshake(Sec_WebSocket_Key="AAAA"),
    "a long key": handshake(Sec_WebSocket_Key="AAAA" * 1000),
    "a key that is not base64": handshake(Sec_WebSocket_Key="!" * 24),
    "a key that is not ASCII": handshake(Sec_WebSocket_Key="\xff" * 24),
    "no upgrade of the connection": handshake(Connection="keep-alive"),
}


# RFC 6455, section 4.4.
OTHER_VERSIONS = ["0", "7", "8", "12", "14", "130", "", "13, 8", "x", "\xff"]


async def ask_each(port: int, requests: dict[str, bytes]) -> dict[str, bytes]:
    """Sends each request over a connection of its own; returns the answers."""
    answers = await asyncio.gather(*(answer_to(port, data) for data in requests.values()))
    return dict(zip(requests, answers, strict=True))


async def test_requests_are_refused_or_answered(port: int, bystanders: Bystanders) -> None:
    answers = await ask_each(port, {name: data for name, (data, _) in REQUESTS.items()})
    assert {name: status(each) for name, each in answers.items()} == {
        name: expected for name, (_, expected) in REQUESTS.items()
    }
    for each in answers.values():
        assert b"Traceback" not in each
        assert b"\x1b" not in each
        assert b"Set-Cookie" not in each.partition(b"\r\n\r\n")[0]
        # None of the later bytes were taken for a second request.
        assert each.count(b"HTTP/1.") == 1
    await bystanders.check()


async def test_bad_handshake_is_refused(port: int) -> None:
    """RFC 6455, section 4.4: the answer names the supported version."""
    for name, answer in (await ask_each(port, HANDSHAKES)).items():
        head, _, body = answer.partition(b"\r\n\r\n")
        assert status(answer) == 400, name
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in head, name
        assert body == b"this is no handshake of a WebSocket\n", name


async def test_unsupported_version_names_version_13(port: int) -> None:
    asked = {each: handshake(Sec_WebSocket_Version=each) for each in OTHER_VERSIONS}
    for name, answer in (await ask_each(port, asked)).items():
        assert status(answer) == 426, name
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nsec-websocket-version: 13" in head, name
        assert b"\r\nupgrade: websocket" in head, name
        assert b"\r\nconnection: upgrade, close" in head, name


async def test_other_method_opens_no_websocket(port: int) -> None:
    head = handshake().replace(b"GET", b"HEAD").replace(b"Upgrade\r\nUpg", b"Upgrade, close\r\nUpg")
    answer = await answer_to(port, head)
    assert status(answer) == 405
    assert b"\r\nAllow: GET\r\n" in answer


async def test_http_0_9_gets_page_only(port: int) -> None:
    """An HTTP/0.9 request is a single line."""
    assert b"<!doctype html>" in await answer_to(port, b"GET /\r\n\r\n")


async def test_unknown_subprotocols_and_extensions_are_ignored(port: int) -> None:
    async with await Wire.open(port) as wire:
        extensions = "permessage-deflate; server_max_window_bits=99, x-\xff"
        await wire.send(
            handshake(Sec_WebSocket_Protocol="talk, \xff", Sec_WebSocket_Extensions=extensions)
        )
        head = (await wire.head()).lower()
        assert status(head.upper()) == 101
        assert b"sec-websocket-protocol" not in head
        assert b"sec-websocket-extensions" not in head


async def test_subprotocol_lines_make_one_list(port: int) -> None:
    """RFC 6455, section 11.3.4."""
    async with await Wire.open(port) as wire:
        lines = "talk\r\nSec-WebSocket-Protocol: shout, chat"
        await wire.send(handshake(Sec_WebSocket_Protocol=lines))
        head = await wire.head()
        assert status(head) == 101
        assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in head
        await wire.send(masked(WSMsgType.PING, b"here"))
        assert await wire.receive() == b"\x8a\x04here"


async def test_reset_before_answer_logs_nothing(port: int, bystanders: Bystanders) -> None:
    """Closing with a linger time of zero sends a reset."""
    for size in range(0, len(handshake()) + 50, 5):
        async with await Wire.open(port) as wire:
            await wire.send((handshake() + masked(WSMsgType.PING, b""))[:size])
            wire.reset_when_closed()
    await bystanders.check()


async def test_handshake_in_single_bytes(port: int) -> None:
    async with await Wire.open(port) as wire:
        for number in handshake():
            await wire.send(bytes([number]))
            await asyncio.sleep(0)
        assert status(await wire.head()) == 101


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    paths = ["/healthz", "/nothing", "/static/style/base.css"] * 30
    whole = b"".join(request(f"GET {path} HTTP/1.1", HOST) for path in paths)
    answer = await answer_to(port, whole + get("/nothing"))
    assert answer.count(b"HTTP/1.1 200 OK") == 60
    assert answer.count(b"HTTP/1.1 404 Not Found") == 31


class TestSize:
    """Oversized requests are refused before their end."""

    @pytest.fixture
    def proxy_config(self, chat_server: chat.RunningServer) -> proxy.Config:
        """A proxy with long timeouts."""
        return proxy.Config(
            host="127.0.0.1", port=0, upstream=chat_server.address, handshake_seconds=600.0
        )

    async def test_request_head_is_bounded(self, port: int, bystanders: Bystanders) -> None:
        """Each line is short enough; all of them together are not."""
        line = "X: " + "a" * 8000
        head = request("GET / HTTP/1.1", HOST, *[line] * 12)[:-2]
        assert len(head) > REQUEST_BYTES
        assert await answer_to(port, head) == b""
        await bystanders.check()

    async def test_endless_body_is_refused(self, port: int) -> None:
        async with await Wire.open(port) as wire:
            await wire.send(request("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked"))
            assert status(await wire.receive()) == 405
            chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
            for _ in range(8):
                await wire.send(chunk)
            await wire.rest()


# Time.


class TestSlow:
    """Slow requests and unread answers end the connection."""

    @pytest.fixture
    def proxy_config(self, chat_server: chat.RunningServer) -> proxy.Config:
        """A proxy with short timeouts."""
        return proxy.Config(
            host="127.0.0.1", port=0, upstream=chat_server.address, handshake_seconds=0.5
        )

    @pytest.mark.parametrize(
        "said", [b"", b"G", handshake()[:-1], post("Content-Length: 9")[:-2]], ids=len
    )
    async def test_half_request_times_out(
        self, port: int, bystanders: Bystanders, said: bytes
    ) -> None:
        async with await Wire.open(port) as wire:
            await wire.send(said)
            await bystanders.check()
            assert await wire.rest() == b""

    async def test_slow_bytes_do_not_extend_timeout(self, port: int) -> None:
        async with await Wire.open(port) as wire:

            async def drip() -> None:
                while True:
                    await wire.send(b"X")
                    await asyncio.sleep(0.05)

            await wire.send(get("/")[:-2] + b"X: ")
            dripping = asyncio.create_task(drip())
            assert await wire.rest() == b""
            dripping.cancel()

    async def test_half_body_times_out(self, port: int) -> None:
        async with await Wire.open(port) as wire:
            await wire.send(request("POST / HTTP/1.1", HOST, "Content-Length: 9", body=b"half"))
            assert status(await wire.rest()) == 405

    async def test_idle_keepalive_connection_is_closed(self, port: int) -> None:
        async with await Wire.open(port) as wire:
            await wire.send(request("GET /healthz HTTP/1.1", HOST))
            assert status(await wire.rest()) == 200

    @pytest.mark.parametrize("rest", [b"", get("/")], ids=len)
    async def test_unread_answers_drop_the_connection(
        self, port: int, bystanders: Bystanders, rest: bytes
    ) -> None:
        """Also if the proxy has closed its half of the connection already."""
        async with await Wire.open(port, receive_bytes=2048) as wire:
            await wire.send(request("GET /static/style/base.css HTTP/1.1", HOST) * 400 + rest)
            await bystanders.check()
            await eventually(lambda: visitors() == 0)

    async def test_silent_websocket_is_kept(self, port: int) -> None:
        async with await Wire.websocket(port) as silent, await Wire.open(port) as late:
            assert await late.rest() == b""
            await silent.send(masked(WSMsgType.PING, b"here"))
            assert await silent.receive() == b"\x8a\x04here"


class TestFull:
    """The number of connections is bounded."""

    @pytest.fixture
    def proxy_config(self, chat_server: chat.RunningServer) -> proxy.Config:
        """A proxy whose bystanders take three of its few places."""
        return proxy.Config(host="127.0.0.1", port=0, upstream=chat_server.address, connections=13)

    async def test_silent_connection_makes_room(self, port: int, bystanders: Bystanders) -> None:
        async with AsyncExitStack() as stack:
            silent = [await stack.enter_async_context(await Wire.open(port)) for _ in range(300)]
            assert status(await answer_to(port, get("/"))) == 200
            assert await silent[0].rest() == b""
            assert visitors() <= 10
            await bystanders.check()

    async def test_websocket_keeps_its_place(self, port: int, bystanders: Bystanders) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(await Wire.websocket(port))
            assert status(await answer_to(port, b"")) == 503
            await bystanders.check()
        await eventually(lambda: visitors() == 0)
        assert status(await answer_to(port, get("/"))) == 200


# Frames.


BROKEN = {
    # RFC 6455, section 5.1.
    "no mask": (b"\x81\x02{}", 1002),
    "a ping without a mask": (b"\x89\x00", 1002),
    "a close without a mask": (b"\x88\x02\x03\xe8", 1002),
    "a close of one byte": (masked(8, b"x"), 1002),
    "an unknown opcode": (masked(3, b"{}"), 1002),
    "an unknown control opcode": (masked(11, b""), 1002),
    "a continuation of nothing": (masked(CONTINUATION, b"{}"), 1002),
    "a beginning behind an empty one": (masked(1, b"", first_bits=0) + masked(1, b"{}"), 1002),
    "RSV1": (masked(1, b"{}", first_bits=0xC0), 1002),
    "RSV2": (masked(1, b"{}", first_bits=0xA0), 1002),
    "RSV1 of a ping": (masked(9, b"", first_bits=0xC0), 1002),
    "RSV3": (masked(1, b"{}", first_bits=0x90), 1002),
    "all reserved bits": (masked(1, b"{}", first_bits=0xF0), 1002),
    "a long close": (masked(8, b"x" * 126), 1002),
    "a long ping": (masked(9, b"x" * 126), 1002),
    "a ping in fragments": (masked(9, b"", first_bits=0), 1002),
    "a pong in fragments": (masked(10, b"", first_bits=0), 1002),
    "a ping of 2**64 - 1 bytes": (b"\x89\xff" + b"\xff" * 12, 1002),
    "a text of 2**40 bytes": (b"\x81\xff" + (2**40).to_bytes(8) + b"mask", 1009),
    "a text of 2**64 - 1 bytes": (b"\x81\xff" + b"\xff" * 12, 1009),
    "two beginnings": (masked(1, b"{", first_bits=0) + masked(1, b"}"), 1002),
    "a reason that is no UTF-8": (masked(8, b"\x03\xe8\xff\xfe"), 1007),
    **{
        f"close {code}": (masked(8, struct.pack("!H", code)), 1002)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    # Compressed without negotiation: it is refused before it is inflated.
    "a deflated bomb": (masked(1, b"\xaa" * 60_000, first_bits=0xC0), 1002),
    **{
        f"close {code} and more": (masked(8, struct.pack("!H", code)) + masked(1, b"{}"), 1000)
        for code in (1000, 1001, 1014, 3000, 4008, 4999)
    },
}


async def test_frames_that_end_a_connection(port: int, bystanders: Bystanders) -> None:
    for name, (data, code) in BROKEN.items():
        with closing(await RawWebSocket.open("127.0.0.1", port)) as broken:
            await broken.send_bytes(data)
            [last] = await broken.read_to_close()
            assert last.close_code == code, name
    await bystanders.check()


async def test_sender_of_forbidden_frame_is_not_reset(port: int, bystanders: Bystanders) -> None:
    """It can read the close frame, although it goes on sending meanwhile."""
    rest = b"x" * (1 << 21)
    for forbidden, code in (
        (b"\x81\xff" + (1 << 30).to_bytes(8) + b"mask", 1009),
        (masked(3, b"{}"), 1002),
    ):
        with closing(await RawWebSocket.open("127.0.0.1", port)) as broken:
            await broken.send(join={"room_id": "lobby"})
            await broken.send_bytes(forbidden)
            await broken.send_bytes(rest)
            frames = await broken.read_to_close()
            assert "joined" in frames[-2].json()
            assert frames[-1].close_code == code
            await broken.read_to_end()
    await bystanders.check()


async def test_sender_of_forbidden_frame_is_not_reset_by_a_stop(
    proxy_config: proxy.Config,
) -> None:
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(proxy.serve(proxy_config))
        with closing(await RawWebSocket.open("127.0.0.1", door.port)) as broken:
            stopping = asyncio.create_task(stack.aclose())
            assert (await broken.read_to_close())[-1].close_code == WSCloseCode.GOING_AWAY
            await broken.send_bytes(masked(3, b"{}"))
            await broken.send_bytes(b"x" * (1 << 19))
            await stopping
            # All was read: the connection has ended well, and a reset follows only now.
            await broken.send_bytes(b"x")


async def test_endless_sender_of_forbidden_frame_is_cut_off(
    port: int, bystanders: Bystanders
) -> None:
    with closing(await RawWebSocket.open("127.0.0.1", port)) as broken:
        await broken.send_bytes(b"\x81\xff" + (1 << 40).to_bytes(8) + b"mask")
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            await send_for_ever(broken)
    await bystanders.check()


async def test_close_code_of_forbidden_frame_is_counted(proxy_config: proxy.Config) -> None:
    async with proxy.serve(replace(proxy_config, metrics_port=0)) as door:
        # With the others it is the client that closes, by a code of its own.
        forbidden = [(data, code) for data, code in BROKEN.values() if code != WSCloseCode.OK]
        for data, code in forbidden:
            with closing(await RawWebSocket.open("127.0.0.1", door.port)) as broken:
                await broken.send_bytes(data)
                assert (await broken.read_to_close())[-1].close_code == code
                await broken.read_to_end()
        expected = Counter(code for _, code in forbidden)
        for code, number in expected.items():
            await scrape_until(door.status_url, partial(_says, code=str(code), number=number))


def _says(scraped: Scrape, code: str, number: int) -> bool:
    return scraped("proxy_connections_closed_total", code=code) == number


async def send_for_ever(client: RawWebSocket) -> None:
    while True:
        await client.send_bytes(b"x" * (1 << 20))


async def test_endless_fragments_close_the_connection(port: int, bystanders: Bystanders) -> None:
    """Fragments share the bound of a frame."""
    with closing(await RawWebSocket.open("127.0.0.1", port)) as endless:
        piece = masked(CONTINUATION, b"x" * 10_000, first_bits=0)
        await endless.send_bytes(masked(1, b"{", first_bits=0) + piece * 30)
        await bystanders.check()
        assert (await endless.read_to_close())[-1].close_code == 1009


async def test_empty_fragments_add_nothing(port: int, bystanders: Bystanders) -> None:
    with closing(await RawWebSocket.open("127.0.0.1", port)) as empty:
        nothing = masked(CONTINUATION, b"", first_bits=0)
        await empty.send_bytes(masked(1, b"{}", first_bits=0) + nothing * 20_000)
        await bystanders.check()
        await empty.send_bytes(masked(CONTINUATION, b""))
        assert "error" in await empty.read_json()


async def test_frames_behind_handshake_are_read(port: int) -> None:
    async with await Wire.open(port) as wire:
        await wire.send(handshake() + masked(WSMsgType.PING, b"here"))
        answer = b""
        while not answer.endswith(b"\x8a\x04here"):
            piece = await wire.receive()
            assert piece, answer
            answer += piece
    async with await Wire.open(port) as wire:
        await wire.send(handshake() + b"\x81\x02{}")
        assert b"\x88\x1b" + struct.pack("!H", 1002) + b"a client masks" in await wire.rest()


FLOODS = {
    "pings": masked(WSMsgType.PING, b""),
    "long pings": masked(WSMsgType.PING, b"x" * 125),
    "empty frames": masked(WSMsgType.TEXT, b""),
    "empty binary frames": masked(WSMsgType.BINARY, b""),
    "frames that are refused": masked(WSMsgType.TEXT, b'{"nonsense":1}'),
}


class TestLog:
    """A connection gets at most one log line for each cause."""

    @pytest.fixture
    def proxy_config(self, chat_server: chat.RunningServer) -> proxy.Config:
        """A proxy with low rates per client, and without limits per address."""
        return proxy.Config(
            host="127.0.0.1",
            port=0,
            upstream=chat_server.address,
            rates=proxy.Rates(sends=1.0, joins=1.0, calls=1.0),
            admission=proxy.AdmissionRules(clients_per_address=0),
        )

    @pytest.mark.parametrize("name", [*FLOODS, "joins"])
    @pytest.mark.parametrize("ending", ["close", "reset", "stay"])
    async def test_flood_is_logged_once(
        self, port: int, logs: Logs, name: str, ending: str
    ) -> None:
        join = masked(1, b'{"join":{"room_id":"attic","after_seq":0}}')
        flood = FLOODS.get(name, join) * 4000
        for _ in range(3):
            async with await Wire.websocket(port) as wire:
                sending = asyncio.create_task(wire.send(flood))
                await asyncio.wait([sending], timeout=1)
                if ending == "reset":
                    wire.reset_when_closed()
                elif ending == "stay":
                    await eventually(lambda: wire.ended or wire.received())
                sending.cancel()
        await eventually(lambda: visitors() == 0)
        causes = {"client closed that goes on although it was told to wait", "slow consumer closed"}
        assert set(events(logs)) <= causes
        assert len(events(logs)) <= 3
        refused = [line for line in logs if line["event"] == "frame refused"]
        # One for refused frames, and one for frames beyond the rate.
        assert len(refused) <= 2 * 3

    async def test_closing_line_counts_errors(self, port: int, logs: Logs) -> None:
        with closing(await RawWebSocket.open("127.0.0.1", port)) as client:
            for _ in range(3):
                await client.send(nonsense=1)
                await client.read_json()
            for _ in range(9):
                await client.send(get_user={"user_id": "nobody"})
                await client.read_json()
            await client.send_bytes(masked(WSMsgType.CLOSE, b""))
            await client.read_to_end()
        [end] = [line for line in logs if line["event"] == "connection closed"]
        assert end["refused"] == "INVALID_ARGUMENT:3,NOT_FOUND:7,RESOURCE_EXHAUSTED:2"


class TestUnread:
    """A client that asks and never reads is closed as a slow consumer."""

    @pytest.fixture
    def proxy_config(self, chat_server: chat.RunningServer) -> proxy.Config:
        """A proxy with small mailboxes."""
        return proxy.Config(
            host="127.0.0.1", port=0, upstream=chat_server.address, mailbox_bytes=65536
        )

    async def test_flood_of_unread_answers_closes(
        self, port: int, bystanders: Bystanders, logs: Logs
    ) -> None:
        with closing(await RawWebSocket.open("127.0.0.1", port)) as flooding:

            async def flood() -> None:
                while True:
                    await flooding.send_bytes(FLOODS["long pings"] * 1000)

            sending = asyncio.create_task(flood())
            await eventually(lambda: events(logs) == ["slow consumer closed"])
            await bystanders.check()
            sending.cancel()
            assert (await flooding.read_to_close())[-1].close_code == 4008
            await asyncio.wait([sending])


async def test_flood_leaves_turns_to_others(port: int) -> None:
    """One turn of the event loop handles a bounded part of a flood."""
    async with await Wire.websocket(port) as flooding:
        for name, frame in FLOODS.items():
            await flooding.send(frame)
            one = len(await flooding.receive())
            sending = asyncio.create_task(flooding.send(frame * 3000))
            largest = total = 0
            while total < 3000 * one:
                await asyncio.sleep(0)
                size = len(flooding.received())
                largest, total = max(largest, size), total + size
            await sending
            assert total == 3000 * one, name
            assert largest <= 200 * one, name


async def most_in_a_turn(wires: list[Wire], frame: bytes, enough: int) -> int:
    """Reads what a proxy in this event loop writes, turn by turn, up to so many frames.

    Returns:
        The largest number of frames in a turn.
    """
    largest = total = 0
    tails = [b""] * len(wires)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while total < enough:
            await asyncio.sleep(0)
            found = 0
            for number, wire in enumerate(wires):
                data = tails[number] + wire.received()
                found += data.count(frame)
                tails[number] = data[max(data.rfind(frame) + 1, len(data) - len(frame) + 1) :]
            largest, total = max(largest, found), total + found
    return largest


async def test_simultaneous_floods_share_turns(port: int, bystanders: Bystanders) -> None:
    """One turn handles as much of all floods together as of one."""
    answer = {"long pings": b"\x8a\x7d", "frames that are refused": b'{"error"'}
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(await Wire.websocket(port)) for _ in range(8)]
        most = len(wires) * FREE_WORK + 2 * TURN_WORK
        for name, begin in answer.items():
            flood = FLOODS[name] * 1000
            sending = asyncio.gather(*(wire.send(flood) for wire in wires))
            assert await most_in_a_turn(wires, begin, 8000) <= most, name
            await sending
            await bystanders.check()


async def test_simultaneous_replays_share_turns(port: int, bystanders: Bystanders) -> None:
    for number in range(600):
        await bystanders.eve.say("attic", str(number), "eve")
    await bystanders.eve.take(600)
    await bystanders.eve.ask(leave={"room_id": "attic"})
    join = masked(1, json.dumps({"join": {"room_id": "attic", "after_seq": 0}}).encode())
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(await Wire.websocket(port)) for _ in range(4)]
        for wire in wires:
            await wire.send(join * 3)
        most = len(wires) * FREE_WORK + 2 * TURN_WORK
        assert await most_in_a_turn(wires, b'{"chat_message"', 4 * 3 * 600) <= most
        await bystanders.check()


@pytest.mark.parametrize("first", [masked(1, b"", first_bits=0), b""], ids=["pieces", "pongs"])
async def test_many_fragments_are_read_in_turns(
    port: int, bystanders: Bystanders, first: bytes
) -> None:
    """The message is read like any other, and others' beside it."""
    opcode, end = (CONTINUATION, masked(CONTINUATION, b"{}")) if first else (10, masked(1, b"{}"))
    piece = masked(opcode, b"", first_bits=0 if first else 0x80)
    async with await Wire.websocket(port) as wire:
        sending = asyncio.create_task(wire.send(first + piece * 20_000 + end))
        checks = 0
        while not wire.received():
            await bystanders.check()
            checks += 1
        # At least so many others had their turn in the meantime.
        assert checks >= 10
        await sending


async def test_unsolicited_pongs_are_ignored(port: int, bystanders: Bystanders) -> None:
    with closing(await RawWebSocket.open("127.0.0.1", port)) as flooding:
        await flooding.send_bytes(masked(WSMsgType.PONG, b"x" * 125) * 5000)
        await bystanders.check()
        await flooding.send(leave={"room_id": "attic"})
        assert await flooding.read_json() == {"left": {"room_id": "attic"}}


# JSON.

BOUND = proxy.Config().frame_bytes
HOSTILE_JSON = {
    "deep lists": b"[" * BOUND,
    "deep objects": b'{"a":' * (BOUND // 5),
    "deep and whole": b'{"join":' + b"[" * 900 + b"]" * 900 + b"}",
    "many lists": b'{"join":[' + b"[]," * (BOUND // 3 - 5) + b"[]]}",
    "many keys": json.dumps({"join": {f"key {n}": n for n in range(3000)}}).encode(),
    "many payloads": json.dumps({f"join{n}": {} for n in range(4000)}).encode(),
    "one key many times": b'{"join":{' + b'"x":1,' * 9000 + b'"x":1}}',
    "keys that collide": json.dumps({"join": {str(n << 61): 0 for n in range(1500)}}).encode(),
    "a large integer": b'{"join":{"room_id":"a","after_seq":' + b"9" * 60_000 + b"}}",
    "a long fraction": b'{"join":{"room_id":"a","after_seq":0.' + b"1" * 60_000 + b"}}",
    "a large exponent": b'{"join":{"room_id":"a","after_seq":1e999999999}}',
    "minus nothing": b'{"join":{"room_id":"a","after_seq":-}}',
    "a long text": b'{"join":{"room_id":"' + b"x" * 60_000 + b'"}}',
    "long escapes": b'{"join":{"room_id":"' + b"\\u0041" * 10_000 + b'"}}',
    "NUL": b'{"join":{"room_id":"\\u0000"}}',
    "NUL in a name": b'{"join":{"room_id\\u0000":"a"}}',
    "half a character": b'{"join":{"room_id":"\\ud800"}}',
    "half a character in a name": b'{"join":{"\\udfff":"a"}}',
    "halves the wrong way round": b'{"join":{"room_id":"\\udc00\\ud800"}}',
    "an overlong NUL": b'{"join":{"room_id":"\xc0\x80"}}',
    "an escape sequence": b'{"join":{"room_id":"\\u001b[31m"}}',
    "lines": b'{"join":{"room_id":"a\\nlevel=error"}}',
    "a prototype": b'{"join":{"__proto__":{"room_id":"a"}}}',
    "another encoding": '{"join":{"room_id":"a"}}'.encode("utf-16"),
}


async def test_hostile_json_is_refused(port: int, bystanders: Bystanders) -> None:
    with closing(await RawWebSocket.open("127.0.0.1", port)) as attacker:
        for name, payload in HOSTILE_JSON.items():
            assert len(payload) <= BOUND, name
            await attacker.send_bytes(masked(WSMsgType.TEXT, payload))
            frame = await attacker.read_frame()
            assert frame is not None, name
            assert "error" in frame.json(), name
            error = frame.json()["error"]
            assert error["code"] == "INVALID_ARGUMENT", name
            assert error["message"].isprintable(), name
            assert len(error["message"]) < 300, name
            await bystanders.check()


# Rooms and users.


class TestMany:
    """Bounds for one connection."""

    @pytest.fixture
    def proxy_config(self, chat_server: chat.RunningServer) -> proxy.Config:
        """A proxy that allows few users per connection."""
        return proxy.Config(
            host="127.0.0.1", port=0, upstream=chat_server.address, users_per_connection=3
        )

    async def test_sender_ids_of_connection_are_bounded(
        self, port: int, bystanders: Bystanders
    ) -> None:
        async with aiohttp.ClientSession() as session:
            client = Client(await session.ws_connect(f"http://127.0.0.1:{port}/"))
            for sender in ("a", "b", "c", "a", "d", "b", "e"):
                await client.say("attic", f"from {sender}", sender)
            got = await client.take(7)
            errors = [each["error"] for each in got if "error" in each]
            said = [each["chat_message"]["sender_id"] for each in got if "chat_message" in each]
            assert said == ["a", "b", "c", "a", "b"]
            assert [each["code"] for each in errors] == ["RESOURCE_EXHAUSTED"] * 2
            assert errors[0]["message"].startswith("chat_message.sender_id: ")
            await bystanders.check()
            await client.socket.close()


async def test_held_request_ids_count_as_bytes(unused_tcp_port: int) -> None:
    """They are held as well while the server is away."""
    config = proxy.Config(
        host="127.0.0.1",
        port=0,
        upstream=f"127.0.0.1:{unused_tcp_port}",
        hold_bytes=100_000,
        drain_seconds=0.1,
    )
    async with proxy.serve(config) as running, aiohttp.ClientSession() as session:
        client = Client(await session.ws_connect(running.url))
        for number in range(20):
            fields = {"room_id": "attic", "sender_id": "ada", "content": "x"}
            await client.send(chat_message=fields, request_id=f"{number}".ljust(10_000))
        answer = await client.receive()
        assert answer["error"]["code"] == "UNAVAILABLE"
        assert int(answer["request_id"]) <= 10
