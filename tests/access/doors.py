"""Both doors in front of the same server, used in the same way."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import betterproto
import orjson
import pytest
from grpclib import GRPCError
from grpclib.client import Channel

import chat
import codec
import proxy
from gen.chat import (
    Authenticate,
    ChangeMessageRequest,
    ChatMessage,
    ChatServiceStub,
    ChatStream,
    EraseUserRequest,
    GetChangesRequest,
    GetChatHistoryRequest,
    GetUserRequest,
    Join,
    Leave,
    ListMembersRequest,
    ListReactionsRequest,
    ListRoomsRequest,
    ListUsersRequest,
    MarkReadRequest,
    ServerFrame,
    SetRoomRequest,
    Typing,
    UpsertUserRequest,
)
from tests.access.signing import bearer
from tests.proxy.web_client import Client, visitor
from tests.support import ChatCall

DOORS: Final = ("grpc", "websocket")
# The gRPC status of a stream's end, by the equivalent close code.
_ENDS: Final = {4010: "UNAUTHENTICATED", 4501: "UNAUTHENTICATED", 4008: "RESOURCE_EXHAUSTED"}

LIVE: Final = (ChatMessage, Join, Leave, Authenticate, Typing)
_FIELDS: Final = {
    ChatMessage: "chat_message",
    Join: "join",
    Leave: "leave",
    Authenticate: "authenticate",
    Typing: "typing",
    GetChatHistoryRequest: "get_chat_history",
    GetUserRequest: "get_user",
    ListUsersRequest: "list_users",
    UpsertUserRequest: "upsert_user",
    ChangeMessageRequest: "change_message",
    GetChangesRequest: "get_changes",
    ListReactionsRequest: "list_reactions",
    MarkReadRequest: "mark_read",
    EraseUserRequest: "erase_user",
    ListRoomsRequest: "list_rooms",
    SetRoomRequest: "set_room",
    ListMembersRequest: "list_members",
}


class Refused(Exception):
    """A request was refused.

    Attributes:
        code: name of the gRPC status.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


async def refused(answer: Awaitable[Any]) -> tuple[str, str]:
    """The status and the text of a refusal."""
    with pytest.raises(Refused) as raised:
        await answer
    code, _, text = str(raised.value).partition(": ")
    return code, text


class Visitor(ABC):
    """A client at one door."""

    @abstractmethod
    async def ask(self, request: betterproto.Message) -> Any:
        """Sends a request; returns the message that answers.

        Raises:
            Refused: the request was refused.
        """

    @abstractmethod
    async def tell(self, request: betterproto.Message) -> None:
        """Sends what is not answered."""

    @abstractmethod
    async def hear(self) -> Any:
        """Returns the next unsolicited message."""

    @abstractmethod
    async def dismissed(self) -> str:
        """Waits for the end of the connection; returns it as a gRPC status name."""


class Caller(Visitor):
    """A client at the gRPC door."""

    def __init__(self, stub: ChatServiceStub, call: ChatCall) -> None:
        self._stub = stub
        self._call = call

    async def ask(self, request: betterproto.Message) -> Any:
        try:
            if isinstance(request, LIVE):
                return await self._live(request)
            # The methods are named like the fields of a frame.
            return await getattr(self._stub, _FIELDS[type(request)])(request)
        except GRPCError as error:
            raise Refused(error.status.name, error.message or "") from error

    async def _live(self, request: betterproto.Message) -> Any:
        payload: dict[str, Any] = {_FIELDS[type(request)]: request}
        self._call.put(ChatStream(request_id="asked", **payload))
        while True:
            answer = await self._call.receive()
            if answer.request_id == "asked":
                return _payload(answer)

    async def tell(self, request: betterproto.Message) -> None:
        payload: dict[str, Any] = {_FIELDS[type(request)]: request}
        self._call.put(ChatStream(**payload))

    async def hear(self) -> Any:
        return _payload(await self._call.receive())

    async def dismissed(self) -> str:
        _, status = await self._call.rest()
        return status.name


class Browser(Visitor):
    """A client at the WebSocket door."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, request: betterproto.Message) -> Any:
        payload = orjson.loads(codec.to_json(request))
        await self._client.send(**{_FIELDS[type(request)]: payload}, request_id="asked")
        return _payload(_frame((await self._client.take_until_answer("asked"))[-1]))

    async def tell(self, request: betterproto.Message) -> None:
        await self._client.send(**{_FIELDS[type(request)]: orjson.loads(codec.to_json(request))})

    async def hear(self) -> Any:
        return _payload(_frame(await self._client.receive()))

    async def dismissed(self) -> str:
        code = await self._client.closed()
        return _ENDS.get(code or 0, str(code))


def _frame(frame: dict[str, Any]) -> ServerFrame:
    return codec.from_json(ServerFrame, orjson.dumps(frame))


def _payload(answer: ChatStream | ServerFrame) -> Any:
    name, payload = betterproto.which_one_of(answer, "payload")
    assert payload is not None
    if name == "error":
        raise Refused(payload.code.name, payload.message)
    return payload


class Doors:
    """A server that requires tokens, and a proxy in front of it.

    Args:
        server: the server.
        url: address of the proxy.
    """

    def __init__(self, server: chat.RunningServer, url: str) -> None:
        self._server = server
        self.url = url

    @asynccontextmanager
    async def visit(self, door: str, token: str | None) -> AsyncIterator[Visitor]:
        """Opens a door with a token, or without one."""
        headers = bearer(token)
        async with AsyncExitStack() as stack:
            if door == "grpc":
                channel = Channel(self._server.host, self._server.port, codec=codec.GrpcCodec())
                stack.callback(channel.close)
                stub = ChatServiceStub(channel, metadata=headers)
                yield Caller(stub, await stack.enter_async_context(ChatCall(stub)))
            else:
                yield Browser(await stack.enter_async_context(visitor(self.url, headers=headers)))


@asynccontextmanager
async def opened(config: chat.Config, proxy_config: proxy.Config) -> AsyncIterator[Doors]:
    """Opens both doors with these settings; the proxy is pointed at the server."""
    async with (
        chat.serve(config) as server,
        proxy.serve(replace(proxy_config, upstream=server.address)) as running,
    ):
        yield Doors(server, running.url)
