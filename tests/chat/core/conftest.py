"""Tests here that await something run in simulated time; nodes for them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.chat.core.nodes import Node
from tests.clock import ClockLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 - the hook's signature
    item: pytest.Item,  # noqa: ARG001
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Takes the place of the one for all tests."""
    return {"clock": ClockLoop}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """The only node."""
    node = await Node.open("only")
    yield node
    node.hub.stop()


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    """Two nodes, and those that a test adds."""
    nodes: list[Node] = []
    for name in ("north", "south"):
        await Node.open(name, nodes)
    yield nodes
    for node in nodes:
        node.hub.stop()
