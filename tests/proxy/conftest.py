"""Clients of a proxy in front of a real chat server."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

import chat
import proxy
from tests.proxy.web_client import Connect, Http, RestartableServer, connect, serve_http


@pytest.fixture
async def server(chat_config: chat.Config) -> AsyncIterator[RestartableServer]:
    """A running chat server that can be restarted."""
    async with RestartableServer.running(replace(chat_config, drain_seconds=1.0)) as server:
        yield server


@pytest.fixture
async def http(proxy_config: proxy.Config) -> AsyncIterator[Http]:
    """A test client of a proxy in front of `chat_server`."""
    async with serve_http(proxy_config) as http:
        yield http


@pytest.fixture(name="connect")
def connect_fixture(http: Http) -> Connect:
    """Opens WebSockets to the proxy of `http`."""
    return partial(connect, http)
