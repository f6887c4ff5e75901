"""Real servers for tests, on loopback, on free ports."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from grpclib.client import Channel
from hypothesis import settings

import chat
import codec
import proxy
from gen.chat import ChatServiceStub, RelayServiceStub
from tests.clock import ClockLoop
from tests.faults.world import choose_seed
from tests.kit import postgres as kit_postgres
from tests.kit import valkey as kit_valkey
from tests.kit.held import held
from tests.kit.ports import free_ports
from tests.kit.postgres import Postgres
from tests.kit.valkey import Valkey
from tests.network import missing
from tests.quick import is_quick
from tests.support import ANY_NUMBER, NO_RATES, PATIENT, RelayCall

settings.register_profile("patient", PATIENT)
settings.load_profile("patient")


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 - the hook's signature
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs the tests on the event loop of production, or in simulated time: see `loop`."""
    if "loop" in getattr(item, "fixturenames", ()):
        return {"clock": ClockLoop}
    return {"uvloop": uvloop.new_event_loop}


def pytest_configure() -> None:
    """Chooses the seed before worker processes start, as they share it."""
    choose_seed()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the quick selection."""
    for item in items:
        if is_quick(item.path):
            item.add_marker("quick")


def pytest_report_header() -> str:
    """Prints the seed first, as a test that times out may print nothing."""
    return choose_seed()


@pytest.fixture
async def loop() -> ClockLoop:
    """The loop of the test, which lets time pass; whoever asks for it runs on it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    return loop


@pytest.fixture
def unused_tcp_port() -> int:
    """Replaces pytest-asyncio's: a port that the system gives to no other process."""
    return free_ports(1)[0]


@pytest.fixture
def chat_config(tmp_path: Path) -> chat.Config:
    """Settings of `chat_server`; a test module may override this fixture."""
    return chat.Config(host="127.0.0.1", port=0, database=str(tmp_path / "chat.db"))


@pytest.fixture
async def chat_server(chat_config: chat.Config) -> AsyncIterator[chat.RunningServer]:
    """A chat server on a real SQLite file."""
    async with chat.serve(chat_config) as server:
        yield server


@pytest.fixture
async def channel(chat_server: chat.RunningServer) -> AsyncIterator[Channel]:
    """A grpclib channel to `chat_server`, with the project's codec."""
    channel = Channel(chat_server.host, chat_server.port, codec=codec.GrpcCodec())
    yield channel
    channel.close()


@pytest.fixture
def stub(channel: Channel) -> ChatServiceStub:
    return ChatServiceStub(channel)


@pytest.fixture
async def relay(channel: Channel) -> AsyncIterator[RelayCall]:
    """A relay stream to `chat_server`, as a proxy has it."""
    async with RelayCall(RelayServiceStub(channel)) as call:
        yield call


@pytest.fixture
def proxy_config(chat_server: chat.RunningServer) -> proxy.Config:
    """Settings of `chat_proxy`, without rates; a test module may override this fixture."""
    return proxy.Config(
        host="127.0.0.1",
        port=0,
        upstream=chat_server.address,
        rates=NO_RATES,
        admission=ANY_NUMBER,
    )


@pytest.fixture
async def chat_proxy(proxy_config: proxy.Config) -> AsyncIterator[proxy.RunningProxy]:
    """A proxy in front of `chat_server`."""
    async with proxy.serve(proxy_config) as running:
        yield running


@pytest.fixture(scope="session")
def postgres_programs() -> None:
    """Needed by whoever runs a PostgreSQL: skips without one, but fails in CI."""
    if kit_postgres.find_programs() is None:
        missing(f"there is no PostgreSQL: apt-get install {kit_postgres.PACKAGE}")


@pytest.fixture(scope="session")
def postgres(postgres_programs: None) -> Iterator[Postgres]:  # noqa: ARG001
    """A PostgreSQL for all tests of a worker, who leave it running and as it is."""
    with held(Postgres.running()) as server:
        yield server


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """Address of a new database on `postgres`."""
    async with postgres.database(f"chat_{secrets.token_hex(8)}") as name:
        yield postgres.url(name)


@pytest.fixture(scope="session")
def valkey_program() -> None:
    """Needed by whoever runs a Valkey: skips without one, but fails in CI."""
    if kit_valkey.find_program() is None:
        missing(f"there is no Valkey or Redis: apt-get install {kit_valkey.PACKAGE}")


@pytest.fixture(scope="session")
def valkey(valkey_program: None) -> Iterator[Valkey]:  # noqa: ARG001
    """A Valkey for all tests of a worker, who leave it running."""
    with held(Valkey.running()) as server:
        yield server
