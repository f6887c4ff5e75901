"""Every storage engine, and an open store of it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from chat.storage.base import Store
from tests.contract.engines import ENGINES, Build, Engine, empty, place_of
from tests.kit.held import held
from tests.kit.postgres import Postgres


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> Iterator[str]:
    """Address of a database for all tests here, one after the other."""
    with held(postgres.database("contract")) as name:
        yield postgres.url(name)


@pytest.fixture
async def empty_database(database: str) -> str:
    """That database, with nothing in it: emptied much faster than a new one is made."""
    await empty(database)
    return database


@pytest.fixture(params=ENGINES, ids=lambda build: build.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    build: Build = request.param
    return build(place_of(request, build))


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with engine.open() as store:
        yield store
