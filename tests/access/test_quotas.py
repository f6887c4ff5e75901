"""Quotas of a user: the same at both doors and over all connections."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import grpc.aio  # type: ignore[import-untyped]  # comes without types
import pytest
from betterproto import which_one_of
from grpclib import GRPCError, Status
from grpclib.client import Channel, Stream, UnaryUnaryMethod
from grpclib.exceptions import StreamTerminatedError
from structlog.testing import capture_logs

import chat
import codec
import proxy
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    ChatServiceStub,
    ChatStream,
    GetChangesRequest,
    GetChatHistoryRequest,
    Join,
    ListUsersRequest,
    ListUsersResponse,
    MarkReadRequest,
)
from tests.access.doors import DOORS, Doors, opened, refused
from tests.access.signing import Signer, bearer
from tests.proxy.web_client import Client, message, serve_http
from tests.support import PATIENCE_SECONDS, ChatCall

# One at once, and the next one after longer than any test takes.
SLOW = 0.001
LONGEST_WAIT_MS = 1000 / SLOW


@pytest.fixture
def rates() -> chat.Rates:
    """The rates of `doors`; a test may override this fixture."""
    return chat.Rates(sends=SLOW, joins=SLOW, calls=SLOW)


@pytest.fixture
async def doors(
    guarded_config: chat.Config, trusted_config: proxy.Config, rates: chat.Rates
) -> AsyncIterator[Doors]:
    async with opened(replace(guarded_config, rates=rates), trusted_config) as doors:
        yield doors


@pytest.fixture
async def server(
    guarded_config: chat.Config, rates: chat.Rates
) -> AsyncIterator[chat.RunningServer]:
    async with chat.serve(replace(guarded_config, rates=rates)) as server:
        yield server


@pytest.fixture
def metadata(signer: Signer) -> dict[str, str]:
    """The headers of a call of ada."""
    return bearer(signer.token())


@pytest.fixture
async def ada(
    server: chat.RunningServer, trusted_config: proxy.Config, metadata: dict[str, str]
) -> AsyncIterator[Client]:
    """A WebSocket client of ada, through a proxy before `server`."""
    config = replace(trusted_config, upstream=server.address)
    async with serve_http(config) as http, http.ws_connect("/", headers=metadata) as socket:
        yield Client(socket)


def said(number: int, room_id: str = "lobby") -> ChatMessage:
    return ChatMessage(id=str(number), room_id=room_id, content="hello")


ASKED: dict[str, tuple[Any, Any]] = {
    "sends": (said(1), said(2)),
    "joins": (Join("lobby"), Join("attic")),
    "calls": (ListUsersRequest(), GetChatHistoryRequest("lobby")),
}


@pytest.mark.parametrize("kind", ASKED)
async def test_doors_share_a_user_quota(doors: Doors, signer: Signer, kind: str) -> None:
    """Whichever door it is spent at; other users are not concerned."""
    first, second = ASKED[kind]
    for user_id, spent_at in zip(("ada", "bob"), DOORS, strict=True):
        async with AsyncExitStack() as stack:
            visitors = [
                await stack.enter_async_context(doors.visit(door, signer.token(sub=user_id)))
                for door in (spent_at, *DOORS)
            ]
            await visitors[0].ask(first)
            for visitor in visitors[1:]:
                assert (await refused(visitor.ask(second)))[0] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("rates", [chat.Rates(calls=SLOW)], ids=["calls"])
async def test_changes_are_calls(doors: Doors, signer: Signer) -> None:
    """So a user that reacts without end is held back, at either door."""
    reactions = [ChangeMessageRequest("lobby", 1, react=emoji) for emoji in "ab"]
    for user_id, spent_at in zip(("ada", "bob"), DOORS, strict=True):
        async with AsyncExitStack() as stack:
            visitors = {
                door: await stack.enter_async_context(doors.visit(door, signer.token(sub=user_id)))
                for door in DOORS
            }
            await visitors[spent_at].ask(said(1))
            await visitors[spent_at].ask(reactions[0])
            for visitor in visitors.values():
                asked = reactions[1], MarkReadRequest("lobby", 1), GetChangesRequest("lobby")
                for request in asked:
                    assert (await refused(visitor.ask(request)))[0] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("rates", [chat.Rates(sends=SLOW)], ids=["sends"])
async def test_refusal_passes_through_the_proxy(ada: Client) -> None:
    assert "chat_message" in await ada.ask(chat_message=message("lobby"))
    error = (await ada.ask(chat_message=message("lobby")))["error"]
    assert (error["code"], error["retryable"]) == ("RESOURCE_EXHAUSTED", True)
    assert 0 < error["retry_after_ms"] <= LONGEST_WAIT_MS
    # It is still in the room, and may ask for something else.
    assert "joined" in await ada.ask(join={"room_id": "attic"})


@pytest.mark.parametrize("rates", [chat.Rates(calls=SLOW)], ids=["calls"])
async def test_refused_call_names_the_wait(
    server: chat.RunningServer, ada: Client, metadata: dict[str, str]
) -> None:
    async with Channel(server.host, server.port, codec=codec.GrpcCodec()) as channel:
        stub = ChatServiceStub(channel, metadata=metadata)
        await stub.list_users(ListUsersRequest())
        method = UnaryUnaryMethod[ListUsersRequest, ListUsersResponse](
            channel, "/chat.ChatService/ListUsers", ListUsersRequest, ListUsersResponse
        )
        call = method.open(metadata=metadata)
        with pytest.raises(GRPCError) as refused:
            await finish(call)
        assert refused.value.status is Status.RESOURCE_EXHAUSTED
        assert call.trailing_metadata is not None
        assert 0 < int(str(call.trailing_metadata["retry-after-ms"])) <= LONGEST_WAIT_MS
    error = (await ada.ask(list_users={}))["error"]
    assert (error["code"], error["retryable"]) == ("RESOURCE_EXHAUSTED", True)
    assert 0 < error["retry_after_ms"] <= 2 * LONGEST_WAIT_MS


@pytest.mark.parametrize("rates", [chat.Rates(calls=SLOW)], ids=["calls"])
async def test_frames_for_the_proxy_cost_no_call(ada: Client, signer: Signer) -> None:
    for _ in range(3):
        assert "left" in await ada.ask(leave={"room_id": "lobby"})
        assert "authenticated" in await ada.ask(authenticate={"token": signer.token()})


async def finish(call: Stream[ListUsersRequest, ListUsersResponse]) -> None:
    async with call:
        await call.send_message(ListUsersRequest(), end=True)
        await call.recv_message()


async def test_grpcio_honours_the_pushback(
    chat_config: chat.Config,
) -> None:
    """Google's client does so by itself, where retries are configured."""
    policy = {
        "maxAttempts": 5,
        # Much longer than the server asks for.
        "initialBackoff": "1000s",
        "maxBackoff": "1000s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    }
    methods = {"name": [{"service": "chat.ChatService"}], "retryPolicy": policy}
    options = [("grpc.service_config", json.dumps({"methodConfig": [methods]}))]
    async with (
        chat.serve(replace(chat_config, rates=chat.Rates(calls=2.0))) as server,
        grpc.aio.insecure_channel(server.address, options=options) as channel,
    ):
        method = channel.unary_unary("/chat.ChatService/ListUsers")
        for _ in range(22):
            await method(b"", timeout=PATIENCE_SECONDS)


class TestGuests:
    """Without keys, each connection has a quota of its own."""

    @pytest.fixture
    def chat_config(self, chat_config: chat.Config) -> chat.Config:
        return replace(chat_config, rates=chat.Rates(sends=SLOW, joins=SLOW, calls=SLOW))

    async def test_stream_is_refused_and_goes_on(self, stub: ChatServiceStub) -> None:
        async with ChatCall(stub) as call:
            for number in range(2):
                call.say(replace(said(number), sender_id="ada"), request_id=str(number))
            answers = [await call.receive() for _ in range(2)]
            [refused] = [
                each.error for each in answers if which_one_of(each, "payload")[0] == "error"
            ]
            assert refused.message == "too many messages"
            assert refused.retryable
            assert 0 < (refused.retry_after_ms or 0) <= LONGEST_WAIT_MS
            call.join("attic", request_id="next")
            assert (await call.receive()).request_id == "next"

    async def test_flooding_stream_ends(self, stub: ChatServiceStub) -> None:
        async with ChatCall(stub) as call:
            for _ in range(1500):
                call.put(ChatStream(chat_message=said(1)))
            _, status = await call.rest()
            assert status is Status.RESOURCE_EXHAUSTED

    async def test_connection_has_its_own_quota(
        self, chat_server: chat.RunningServer, stub: ChatServiceStub
    ) -> None:
        await stub.list_users(ListUsersRequest())
        with pytest.raises(GRPCError) as refused:
            await stub.list_users(ListUsersRequest())
        assert refused.value.status is Status.RESOURCE_EXHAUSTED
        async with Channel(chat_server.host, chat_server.port, codec=codec.GrpcCodec()) as other:
            await ChatServiceStub(other).list_users(ListUsersRequest())

    async def test_flooding_caller_is_cut_off(self, stub: ChatServiceStub) -> None:
        async def go_on() -> None:
            while True:
                with suppress(GRPCError):
                    await stub.list_users(ListUsersRequest())

        with pytest.raises((StreamTerminatedError, ConnectionError)):
            await go_on()

    async def test_proxy_calls_are_not_its_own(self, chat_server: chat.RunningServer) -> None:
        config = proxy.Config(upstream=chat_server.address)
        async with serve_http(config) as http:
            client = Client(await http.ws_connect("/"))
            for number in range(10):
                assert "users" in await client.ask(list_users={})
                assert "chat_message" in await client.ask(chat_message=message(str(number)))


@pytest.mark.parametrize("rates", [chat.Rates(calls=SLOW)], ids=["calls"])
async def test_flooding_client_costs_no_link(
    server: chat.RunningServer, trusted_config: proxy.Config, signer: Signer
) -> None:
    config = replace(trusted_config, upstream=server.address, rates=proxy.Rates())
    with capture_logs() as lines:
        async with serve_http(config) as http:
            for subject in ("ada", "bob"):
                headers = bearer(signer.token(sub=subject))
                async with http.ws_connect("/", headers=headers) as socket:
                    client = Client(socket)
                    assert "users" in await client.ask(list_users={})
                    with suppress(ConnectionError):  # closed meanwhile
                        for _ in range(3000):
                            await client.send(list_users={})
                    assert await client.closed() == 4029
    assert [line["event"] for line in lines].count("upstream connected") == 1


@pytest.mark.parametrize("rates", [chat.Rates(joins=2.0)], ids=["joins"])
async def test_fresh_token_costs_no_room(ada: Client, signer: Signer) -> None:
    """The server is asked about each room again: more than the rate of joins allows."""
    rooms = [str(number) for number in range(11)]
    for room_id in rooms:
        assert "joined" in await ada.ask(join={"room_id": room_id})
    fresh = signer.token(rooms={"read": rooms[1:]})
    await ada.send(authenticate={"token": fresh}, request_id="fresh")
    left, answer = await ada.take(2)
    assert left == {"left": {"room_id": "0"}}
    assert "authenticated" in answer
