"""WebSocket clients and servers for the tests of the proxy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any, Self

import aiohttp
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

import chat
import proxy
from proxy.core.outlet import Paces
from tests.kit.ports import free_ports
from tests.support import PATIENCE_SECONDS

Frame = dict[str, Any]
Http = TestClient[web.Request, web.Application]


def message(room_id: str, content: str = "hello", sender_id: str = "ada", **more: Any) -> Frame:
    """The payload of a `chat_message` frame."""
    return {"room_id": room_id, "sender_id": sender_id, "content": content, **more}


def contents(frames: Iterable[Frame]) -> list[str]:
    return [frame["chat_message"]["content"] for frame in frames]


def seqs(frames: Iterable[Frame]) -> list[int]:
    return [frame["chat_message"]["seq"] for frame in frames]


class CutOff(AssertionError):
    """The connection ended where a frame was expected."""


class Client:
    """A WebSocket client that speaks JSON.

    Attributes:
        socket: the connection.
        close_code: the close code, once read to the end.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self.socket = socket
        self.close_code: int | None = None
        self._request_ids = count(1)

    async def send(self, **frame: Any) -> None:
        """Sends a frame without waiting."""
        await self.socket.send_json(frame)

    async def say(self, room_id: str, content: str, sender_id: str = "ada", **more: Any) -> None:
        """Sends a message without waiting."""
        await self.send(chat_message=message(room_id, content, sender_id, **more))

    async def send_text(self, payload: bytes) -> None:
        """Sends a text frame with any payload."""
        await self.socket.send_frame(payload, WSMsgType.TEXT)

    async def receive(self) -> Frame:
        """Returns the next frame."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            received = await self.socket.receive()
        if received.type is not WSMsgType.TEXT:
            raise CutOff(received)
        frame = received.json()
        assert isinstance(frame, dict)
        return frame

    async def take(self, number: int) -> list[Frame]:
        """Returns that many next frames."""
        return [await self.receive() for _ in range(number)]

    async def take_until(self, found: Callable[[Frame], bool]) -> list[Frame]:
        """Returns the next frames up to and including a matching one."""
        frames = [await self.receive()]
        while not found(frames[-1]):
            frames.append(await self.receive())
        return frames

    async def take_until_content(self, content: str) -> list[Frame]:
        """Returns the next frames up to and including a message with this text."""
        return await self.take_until(lambda f: f.get("chat_message", {}).get("content") == content)

    async def take_until_seq(self, seq: int) -> list[Frame]:
        """Returns the next frames up to and including a message at or past this position."""
        return await self.take_until(lambda f: f.get("chat_message", {}).get("seq", 0) >= seq)

    async def take_until_answer(self, request_id: str) -> list[Frame]:
        """Returns the next frames up to and including one with this request id."""
        return await self.take_until(lambda f: f.get("request_id") == request_id)

    async def ask(self, **frame: Any) -> Frame:
        """Sends a frame and returns its answer, which must be the next frame."""
        request_id = f"request {next(self._request_ids)}"
        await self.send(**frame, request_id=request_id)
        answer = await self.receive()
        assert answer.pop("request_id", None) == request_id, answer
        return answer

    async def barrier(self) -> list[Frame]:
        """Waits until all frames sent before were handled; returns the frames received.

        The proxy handles frames in order, and refuses this one by itself.
        """
        request_id = f"barrier {next(self._request_ids)}"
        await self.send(request_id=request_id)
        return (await self.take_until_answer(request_id))[:-1]

    async def take_until_closed(self) -> list[Frame]:
        """Returns the next frames up to the end of the connection."""
        frames = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (received := await self.socket.receive()).type is WSMsgType.TEXT:
                frames.append(received.json())
        self.close_code = code_of(self.socket, received)
        return frames

    async def closed(self) -> int | None:
        """Reads until the connection is closed; returns the close code."""
        await self.take_until_closed()
        return self.close_code


def code_of(socket: aiohttp.ClientWebSocketResponse[Any], last: aiohttp.WSMessage) -> int | None:
    """The close code in the last message of a connection.

    aiohttp forgets it if its own close frame meets a closed socket.
    """
    return last.data if last.type is WSMsgType.CLOSE else socket.close_code


@asynccontextmanager
async def visitor(url: str, **options: Any) -> AsyncIterator[Client]:
    """A client that is in no room.

    Args:
        url: address of a proxy.
        options: aiohttp's, of a handshake.
    """
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
        yield Client(socket)


Connect = Callable[[], Awaitable[Client]]


@asynccontextmanager
async def serve_http(config: proxy.Config, paces: Paces | None = None) -> AsyncIterator[Http]:
    """A proxy with these settings, and aiohttp's test client for it."""
    server = TestServer(proxy.create_app(config, paces))
    # aiohttp's own limit of 100 connections is a client's, not the proxy's. One that is kept for
    # the next request may be closed just then, and the test client does not ask again.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with TestClient(server, connector=connector) as http:
        yield http


async def connect(http: Http) -> Client:
    """Opens a WebSocket that is closed with the test client."""
    return Client(await http.ws_connect("/"))


async def joined(http: Http, room_id: str, **position: Any) -> Client:
    """Opens a WebSocket that has joined a room."""
    client = await connect(http)
    answer = await client.ask(join={"room_id": room_id, **position})
    assert "joined" in answer, answer
    return client


class RestartableServer:
    """A chat server that can be restarted on the same port.

    Args:
        config: settings of the first start.
    """

    def __init__(self, config: chat.Config) -> None:
        self._config = replace(config, port=free_ports(1)[0])
        self._stack = AsyncExitStack()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self._config.host}:{self._config.port}"

    @classmethod
    @asynccontextmanager
    async def running(cls, config: chat.Config) -> AsyncIterator[Self]:
        """Starts one, and stops it at the end."""
        server = cls(config)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    async def start(self, **changes: Any) -> None:
        """Starts it, with changed settings if given."""
        self._config = replace(self._config, **changes)
        await self._stack.enter_async_context(chat.serve(self._config))

    async def stop(self) -> None:
        """Stops it in order."""
        await self._stack.aclose()
