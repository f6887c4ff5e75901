"""Every storage engine, and an open store of it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chat.storage.base import Store
from tests.contract.engines import ENGINES, Engine


@pytest.fixture(params=ENGINES, ids=lambda build: build.__name__)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    build: Callable[[Path], Engine] = request.param
    return build(tmp_path)


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    async with engine.open() as store:
        yield store
