"""Clients of a proxy in front of a real chat server."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

import proxy
from tests.proxy.web_client import Connect, Http, connect, serve_http


@pytest.fixture
async def http(proxy_config: proxy.Config) -> AsyncIterator[Http]:
    """A test client of a proxy in front of `chat_server`."""
    async with serve_http(proxy_config) as http:
        yield http


@pytest.fixture(name="connect")
def connect_fixture(http: Http) -> Connect:
    """Opens WebSockets to the proxy of `http`."""
    return partial(connect, http)
