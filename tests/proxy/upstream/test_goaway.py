"""GOAWAY from the server: begun calls are answered, others are repeated.

The server is of h2 alone: the project's own sends it only once nothing is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from hyperframe.frame import GoAwayFrame

import codec
import proxy
from gen.chat import ListUsersResponse, User
from tests.kit.http2 import prefixed
from tests.proxy.web_client import Client, serve_http
from tests.support import PATIENCE_SECONDS

RELAY = "/chat.RelayService/Relay"
LIST_USERS = "/chat.ChatService/ListUsers"
ANSWER = prefixed(codec.encode(ListUsersResponse(users=[User(id="ada")])))
OK = [(":status", "200"), ("content-type", "application/grpc")]


class Connection(asyncio.Protocol):
    """One connection; it keeps relay streams open and leaves calls unanswered.

    Attributes:
        calls: streams of unary calls that wait for an answer.
        relays: streams of batches.
        closed: set at its end.
    """

    def __init__(self, made: asyncio.Queue[Connection]) -> None:
        self._made = made
        self.calls: asyncio.Queue[int] = asyncio.Queue()
        self.relays: set[int] = set()
        self.closed = asyncio.Event()
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no such class
        self.h2.initiate_connection()
        self.flush()
        self._made.put_nowait(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.closed.set()

    def flush(self) -> None:
        self._transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            match event:
                case RequestReceived():
                    headers = {str(name): str(value) for name, value in event.headers}
                    self._begin(event.stream_id, headers[":path"])
                case DataReceived():
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamReset() | StreamEnded():
                    self.relays.discard(event.stream_id)
        self.flush()

    def _begin(self, stream: int, path: str) -> None:
        if path == RELAY:
            self.h2.send_headers(stream, OK)
            self.relays.add(stream)
        else:
            self.calls.put_nowait(stream)

    def answer(self, stream: int) -> None:
        self.h2.send_headers(stream, OK)
        self.h2.send_data(stream, ANSWER)
        self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.flush()

    def refuse(self, stream: int) -> None:
        """Answers like a grpclib server that lacks the method."""
        self.h2.send_headers(
            stream,
            [(":status", "200"), ("grpc-status", "12"), ("grpc-message", "no")],
            end_stream=True,
        )
        self.flush()

    def say_goodbye(self, last: int) -> None:
        """Sends GOAWAY as bytes, as h2 would stop after its own."""
        goodbye = GoAwayFrame(0, last_stream_id=last, error_code=ErrorCodes.NO_ERROR)
        self._transport.write(goodbye.serialize())


@pytest.fixture
def made() -> asyncio.Queue[Connection]:
    """The proxy's connections to the server, in order."""
    return asyncio.Queue()


@pytest.fixture
async def client(made: asyncio.Queue[Connection]) -> AsyncIterator[Client]:
    """A client of a proxy whose server answers only on demand."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(made), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = proxy.Config(upstream=f"127.0.0.1:{port}", call_seconds=PATIENCE_SECONDS)
    async with serve_http(config) as http:
        yield Client(await http.ws_connect("/", timeout=aiohttp.ClientWSTimeout(ws_close=1)))
    server.close()


async def get(made: asyncio.Queue[Connection]) -> Connection:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await made.get()


async def call(connection: Connection) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await connection.calls.get()


async def test_begun_call_is_answered_after_goaway(
    client: Client, made: asyncio.Queue[Connection]
) -> None:
    first = await get(made)
    await client.send(list_users={}, request_id="1")
    stream = await call(first)
    first.say_goodbye(stream)
    # The link goes to another connection meanwhile.
    second = await get(made)
    first.answer(stream)
    assert (await client.receive())["users"]["users"][0]["id"] == "ada"
    async with asyncio.timeout(PATIENCE_SECONDS):
        await first.closed.wait()
    await client.send(list_users={}, request_id="2")
    second.answer(await call(second))
    assert (await client.receive())["request_id"] == "2"


async def test_unbegun_call_is_repeated_after_goaway(
    client: Client, made: asyncio.Queue[Connection]
) -> None:
    first = await get(made)
    await client.send(list_users={}, request_id="1")
    stream = await call(first)
    first.say_goodbye(stream - 1)
    second = await get(made)
    second.answer(await call(second))
    assert (await client.receive())["users"]["users"][0]["id"] == "ada"


async def test_call_unknown_to_older_server(
    client: Client, made: asyncio.Queue[Connection]
) -> None:
    server = await get(made)
    await client.send(list_users={}, request_id="1")
    server.refuse(await call(server))
    error = (await client.receive())["error"]
    assert (error["code"], error["retryable"]) == ("UNIMPLEMENTED", False)
