"""The library without chat: another service, with grpclib's codec and messages."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.encoding.proto import ProtoCodec
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.server import Stream

from hosting.grpc.limits import ConnectionLimits
from hosting.grpc.server import GrpcServer

PATH = "/alone.Alone/Wait"
LIMIT = 100
OURS = {"chat", "codec", "gen", "proxy"}

Call = Stream[HealthCheckRequest, HealthCheckResponse]


class Waiting:
    """A service of one call, answered when the test allows it.

    Attributes:
        begun: set with the first call.
        may_end: lets calls end.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    def __mapping__(self) -> dict[str, Handler]:
        unary = Cardinality.UNARY_UNARY
        return {PATH: Handler(self.wait, unary, HealthCheckRequest, HealthCheckResponse)}

    async def wait(self, call: Call) -> None:
        request = await call.recv_message()
        assert request is not None
        if request.service == "lost":
            raise LookupError("no such thing")
        self.begun.set()
        await self.may_end.wait()
        await call.send_message(HealthCheckResponse())


def status_of(error: Exception) -> GRPCError | None:
    return GRPCError(Status.NOT_FOUND, str(error)) if isinstance(error, LookupError) else None


@pytest.fixture
def service() -> Waiting:
    return Waiting()


@pytest.fixture
async def server(service: Waiting) -> AsyncIterator[GrpcServer]:
    limits = ConnectionLimits(connections=1)
    server = GrpcServer([service], ProtoCodec(), lambda _: LIMIT, limits, status_of=status_of)
    yield server
    server.stop_listening()
    await server.go_away()


@pytest.fixture
async def channel(server: GrpcServer) -> AsyncIterator[Channel]:
    async with Channel("127.0.0.1", await server.listen("127.0.0.1", 0)) as channel:
        yield channel


def ask(channel: Channel, service: str = "") -> asyncio.Task[HealthCheckResponse]:
    method = UnaryUnaryMethod(channel, PATH, HealthCheckRequest, HealthCheckResponse)
    return asyncio.ensure_future(method(HealthCheckRequest(service=service)))


@pytest.mark.parametrize(
    ("service_name", "status"),
    [("x" * LIMIT, Status.RESOURCE_EXHAUSTED), ("lost", Status.NOT_FOUND)],
)
async def test_library_bounds_and_statuses(
    channel: Channel, service_name: str, status: Status
) -> None:
    with pytest.raises(GRPCError) as refused:
        await ask(channel, service_name)
    assert refused.value.status is status


async def test_drain_lets_calls_end(server: GrpcServer, service: Waiting, channel: Channel) -> None:
    call = ask(channel)
    await service.begun.wait()
    assert len(server.connections) == 1
    server.stop_listening()
    assert not await server.wait_idle(0)
    idle = asyncio.ensure_future(server.wait_idle(60))
    service.may_end.set()
    assert await idle
    assert await call == HealthCheckResponse()
    await server.go_away()
    assert len(server.connections) == 0


def test_library_imports_no_chat() -> None:
    modules = "channel", "server"
    lines = [f"import hosting.grpc.{module}" for module in modules]
    lines += ["import sys", "print(*{name.partition('.')[0] for name in sys.modules})"]
    ran = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, check=True, text=True
    )
    assert not OURS & set(ran.stdout.split())
