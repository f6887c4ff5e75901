"""The codec on a real gRPC connection."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.health.service import Health
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.server import Server

import codec
from gen.chat import (
    ChatServiceBase,
    ChatServiceStub,
    GetUserRequest,
    GetUserResponse,
    User,
)

GET_USER = "/chat.ChatService/GetUser"


class Service(ChatServiceBase):
    """Knows every user, by its id alone."""

    async def get_user(self, get_user_request: GetUserRequest) -> GetUserResponse:
        return GetUserResponse(user=User(id=get_user_request.user_id))


class Encoded(ChatServiceBase):
    """Answers with an encoded message."""

    async def get_user(self, get_user_request: GetUserRequest) -> Any:
        return codec.encode(GetUserResponse(user=User(id=get_user_request.user_id)))


@pytest.fixture(params=[Service, Encoded])
async def channel(request: pytest.FixtureRequest) -> AsyncIterator[Channel]:
    service: ChatServiceBase = request.param()
    server = Server([service, Health()], codec=codec.GrpcCodec())
    sock = socket.create_server(("127.0.0.1", 0))
    await server.start(sock=sock)
    channel = Channel("127.0.0.1", sock.getsockname()[1], codec=codec.GrpcCodec())
    yield channel
    channel.close()
    server.close()
    await server.wait_closed()


async def test_call_round_trip(channel: Channel) -> None:
    response = await ChatServiceStub(channel).get_user(GetUserRequest(user_id="a"))
    assert response == GetUserResponse(user=User(id="a"))


async def test_google_messages_are_accepted(channel: Channel) -> None:
    response = await HealthStub(channel).Check(HealthCheckRequest())
    assert response == HealthCheckResponse(status=HealthCheckResponse.SERVING)


async def test_request_of_wrong_type_is_not_sent(channel: Channel) -> None:
    method = UnaryUnaryMethod[Any, Any](channel, GET_USER, GetUserRequest, GetUserResponse)
    with pytest.raises(TypeError, match="expected a GetUserRequest, not a User"):
        await method(User())


async def test_malformed_request_ends_its_call(channel: Channel) -> None:
    method = UnaryUnaryMethod[bytes, GetUserResponse](channel, GET_USER, bytes, GetUserResponse)
    with pytest.raises(GRPCError) as caught:
        await method(b"\x0a\x05a")
    assert caught.value.status is Status.UNKNOWN  # a server turns it into a better one
    response = await method(b"\x0a\x01a")
    assert response.user.id == "a"
