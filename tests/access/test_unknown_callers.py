"""Charges for unauthenticated calls: to a connection, and to its address."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic

import pytest
from grpclib import Status
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamEnded, TrailersReceived

import chat
import proxy
from gen.chat import ChatServiceStub, GetChatHistoryRequest, ListUsersRequest
from hosting.grpc.allowances import BURST as BURST_OF_WORK
from hosting.grpc.allowances import CALLS_PER_SECOND, FIRST_CALLS
from tests.access.signing import Signer, bearer, es256
from tests.kit.http2 import (
    END_HEADERS,
    END_STREAM,
    PREFACE,
    Http2Client,
    RawClient,
    headers,
    opening,
    prefixed,
)
from tests.proxy.web_client import Client, serve_http
from tests.scraping import scrape
from tests.support import PATIENCE_SECONDS, channel_to

A_CALL = prefixed(b"")
BATCH = 50
# Allowance of an address: a burst, and one more call per second.
CALLS = 1.0
BURST = 10
HEALTH = "/grpc.health.v1.Health/Check"
REFUSED = Status.RESOURCE_EXHAUSTED.name

PATHS = {
    "health": HEALTH,
    "reflection": "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "a method that is not there": "/chat.ChatService/Nothing",
    "a call": "/chat.ChatService/ListUsers",
}


@pytest.fixture
def limits() -> chat.ConnectionLimits:
    return chat.ConnectionLimits(calls_per_address=CALLS)


@pytest.fixture
def chat_config(chat_config: chat.Config, limits: chat.ConnectionLimits) -> chat.Config:
    return replace(chat_config, connection_limits=limits, metrics_port=0)


@pytest.fixture
async def guarded(guarded_config: chat.Config) -> AsyncIterator[chat.RunningServer]:
    async with chat.serve(guarded_config) as server:
        yield server


class Flood:
    """A client that calls without pause, from an address of its own.

    Attributes:
        statuses: number of calls, by status.
        connections: number of connections made.
    """

    def __init__(self, server: chat.RunningServer, path: str, token: str = "") -> None:
        self._server = server
        self._path = path
        self._more = [("authorization", f"Bearer {token}")] if token else []
        self._began = monotonic()
        self.statuses = Counter[str]()
        self.connections = 0

    @property
    def most(self) -> float:
        """Largest number of its calls that may have been handled by now."""
        passed = monotonic() - self._began
        own = self.connections * FIRST_CALLS + passed * CALLS_PER_SECOND
        return own + BURST + passed * CALLS + 1

    @property
    def is_overdrawn(self) -> bool:
        """Whether it has made more calls than may have been handled by now."""
        return sum(self.statuses.values()) > self.most

    async def overdraw(self, *, host: str = "127.0.0.1") -> None:
        """Calls, on several connections, until some calls must have been refused."""
        while not (self.is_overdrawn and self.statuses[REFUSED]):
            await self.connect(2, host=host)

    async def connect(self, batches: int, *, host: str = "127.0.0.1") -> None:
        """Makes a connection and so many batches of calls."""
        self.connections += 1
        async with Http2Client.connect(self._server.host, self._server.port, host) as client:
            for _ in range(batches):
                for _ in range(BATCH):
                    client.request(self._path, A_CALL, end=True, more=self._more)
                client.flush()
                if not await self._read(client):
                    return

    async def _read(self, client: Http2Client) -> bool:
        ended = 0
        while ended < BATCH:
            event = await client.event()
            if event is None or isinstance(event, ConnectionTerminated):
                return False
            if headers := getattr(event, "headers", None):
                said = {str(name): str(value) for name, value in headers}
                if "grpc-status" in said:
                    self.statuses[Status(int(said["grpc-status"])).name] += 1
                    if said["grpc-status"] == str(Status.RESOURCE_EXHAUSTED.value):
                        assert int(said["retry-after-ms"]) > 0
                        assert said["grpc-retry-pushback-ms"] == said["retry-after-ms"]
            ended += isinstance(event, StreamEnded)
        return True


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
async def test_calls_are_charged_to_address(chat_server: chat.RunningServer, path: str) -> None:
    """A new connection does not help."""
    flood = Flood(chat_server, path)
    while flood.connections < 4 or not flood.is_overdrawn:
        await flood.connect(2)
    answered = sum(flood.statuses.values()) - flood.statuses[REFUSED]
    assert 0 < answered <= flood.most
    told = await scrape(chat_server.status_url)
    assert told("chat_calls_refused_total") == flood.statuses[REFUSED]


async def test_forged_tokens_are_not_verified(guarded: chat.RunningServer, signer: Signer) -> None:
    """A known client at the same address still gets all its answers in order."""
    flood = Flood(guarded, "/chat.ChatService/ListUsers", es256().token(kid="one", sub="eve"))
    async with channel_to(guarded) as channel:
        stub = ChatServiceStub(channel, metadata=bearer(signer.token(kid="one")))
        await stub.list_users(ListUsersRequest())
        answered = 0

        async def go_on() -> None:
            while answered <= 5 or not flood.is_overdrawn:
                await flood.connect(10)

        flooding = asyncio.create_task(go_on())
        while not flooding.done():
            await stub.get_chat_history(GetChatHistoryRequest("lobby"), timeout=PATIENCE_SECONDS)
            answered += 1
        await flooding
    assert 0 < flood.statuses["UNAUTHENTICATED"] <= flood.most


async def test_authenticated_callers_are_not_charged(
    guarded: chat.RunningServer, signer: Signer
) -> None:
    async with channel_to(guarded) as channel:
        stub = ChatServiceStub(channel, metadata=bearer(signer.token(kid="one")))
        for _ in range(200):
            await stub.list_users(ListUsersRequest())


async def test_other_address_is_not_charged(chat_server: chat.RunningServer) -> None:
    await Flood(chat_server, HEALTH).overdraw(host="127.0.0.2")
    async with Http2Client.connect(chat_server.host, chat_server.port) as client:
        for _ in range(BURST):
            data, said = await client.answer(client.request(HEALTH, A_CALL, end=True))
            assert (said["grpc-status"], len(data)) == ("0", 7)


async def test_flooding_address_is_cut_off(chat_server: chat.RunningServer) -> None:
    """It makes more calls, without waiting, than an address may have refused."""
    last = 2 * BURST_OF_WORK
    calls = (opening(n, headers(HEALTH), flags=END_HEADERS | END_STREAM) for n in range(1, last, 2))
    async with RawClient.connect(chat_server.port) as client:
        client.send(PREFACE + b"".join(calls))
        assert await client.end() == ErrorCodes.ENHANCE_YOUR_CALM


async def test_refused_call_is_not_reset(
    chat_server: chat.RunningServer,
) -> None:
    """After a reset, some clients would not see when to retry."""
    await Flood(chat_server, HEALTH).overdraw()
    async with Http2Client.connect(chat_server.host, chat_server.port) as client:
        streams = [client.request(HEALTH, struct.pack(">xI", 0)[:2]) for _ in range(BATCH)]
        client.flush()
        refused = 0
        while refused < BATCH - FIRST_CALLS - CALLS_PER_SECOND:
            event = await client.event()
            assert not isinstance(event, ConnectionTerminated | TrailersReceived)
            refused += isinstance(event, StreamEnded)
        for stream in streams:
            client.send(stream, b"\0\0\0", end=True)
        client.flush()
        client.h2.ping(b"still so")
        client.flush()
        assert await client.event() is not None


@pytest.mark.parametrize("limits", [chat.ConnectionLimits(calls_per_address=0)], ids=["none"])
async def test_address_limit_can_be_off(chat_server: chat.RunningServer) -> None:
    flood = Flood(chat_server, HEALTH)
    await flood.connect(10)
    assert flood.statuses == {"OK": 500}


async def test_proxy_calls_are_not_charged(chat_server: chat.RunningServer) -> None:
    """Also without keys, and while others at its address ask too much."""
    config = proxy.Config(upstream=chat_server.address, rates=proxy.Rates())
    async with serve_http(config) as http:
        client = Client(await http.ws_connect("/"))
        assert "users" in await client.ask(list_users={})
        await Flood(chat_server, HEALTH).overdraw()
        for _ in range(300):
            assert "users" in await client.ask(list_users={})


async def test_known_proxy_passes_on_guest_calls(
    guarded_config: chat.Config, trusted_config: proxy.Config, signer: Signer
) -> None:
    token = bearer(signer.token(kid="one"))
    config = replace(guarded_config, rates=chat.Rates())
    async with chat.serve(config) as server:
        trusted = replace(trusted_config, upstream=server.address, rates=proxy.Rates())
        async with serve_http(trusted) as http:
            client = Client(await http.ws_connect("/", headers=token))
            await Flood(server, HEALTH).overdraw()
            for _ in range(300):
                assert "users" in await client.ask(list_users={})
