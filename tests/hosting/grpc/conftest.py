"""A server of small calls that must log nothing and hold nothing at the end of a test."""

from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from time import monotonic
from typing import Any

import pytest
from structlog.testing import capture_logs

from hosting.grpc.limits import ConnectionLimits
from tests.faults.remains import no_complaints, nothing_stays
from tests.hosting.grpc.probe import ObservedServer, check_others_are_served
from tests.kit.http2 import Http2Client
from tests.support import eventually


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(connections=20, streams_per_connection=30)


@pytest.fixture
def clock() -> Callable[[], float]:
    """The clock of the allowances of clients."""
    return monotonic


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Log lines of the server since the test began."""
    with capture_logs() as found:
        yield found


@pytest.fixture
async def server(
    limits: ConnectionLimits,
    clock: Callable[[], float],
    logs: list[MutableMapping[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[ObservedServer]:
    """A server that must have logged nothing at the end."""
    server = ObservedServer(limits, clock)
    with no_complaints(caplog, logs):
        yield server
        server.stop_listening()
        await server.go_away()


@pytest.fixture
async def listening(server: ObservedServer) -> int:
    """The port of a server."""
    return await server.listen("127.0.0.1", 0)


@pytest.fixture
async def port(server: ObservedServer, listening: int) -> AsyncIterator[int]:
    """The port of a server that must hold nothing at the end."""
    # The event loop opens files with its first connection.
    await check_others_are_served(listening)
    await eventually(lambda: server.open_connections() == 0)
    async with nothing_stays():
        yield listening
        await eventually(lambda: server.open_connections() == 0)
        await eventually(lambda: server.open_streams() == server.open_calls() == 0)


@pytest.fixture
async def client(server: ObservedServer, listening: int) -> AsyncIterator[Http2Client]:
    """A client of a server that must have no stream at the end; client objects stay a while."""
    async with Http2Client.connect("127.0.0.1", listening) as client:
        yield client
    await eventually(lambda: server.open_streams() == server.open_calls() == 0)
