"""Two streams of `Chat`."""

from collections.abc import AsyncIterator

import pytest

from gen.chat import ChatServiceStub
from tests.support import ChatCall


@pytest.fixture
async def ada(stub: ChatServiceStub) -> AsyncIterator[ChatCall]:
    async with ChatCall(stub) as call:
        yield call


@pytest.fixture
async def bob(stub: ChatServiceStub) -> AsyncIterator[ChatCall]:
    async with ChatCall(stub) as call:
        yield call
