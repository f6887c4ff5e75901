"""Warnings for an operator whose service lets anyone be any user."""

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

import chat
import proxy
from tests.proxy.web_client import RestartableServer
from tests.support import eventually

EVERYWHERE = "0.0.0.0"  # noqa: S104 - that is what is warned of
BEHIND = proxy.AdmissionRules(trusted_proxies=("127.0.0.1",))


def warned(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines if line["log_level"] == "warning"]


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
async def test_server_warns_without_keys(chat_config: chat.Config, host: str) -> None:
    with capture_logs() as lines:
        async with chat.serve(replace(chat_config, host=host)):
            pass
    text = "anyone who reaches this server may be anyone: it has no token-keys"
    assert warned(lines) == ([text] if host == EVERYWHERE else [])


async def test_server_warns_without_tls(guarded_config: chat.Config) -> None:
    with capture_logs() as lines:
        async with chat.serve(replace(guarded_config, host=EVERYWHERE)):
            pass
    assert warned(lines) == ["tokens reach this server unencrypted: it has no tls-certificate"]


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [({}, False), ({"host": EVERYWHERE}, True), ({"admission": BEHIND}, True)],
)
async def test_proxy_warns_without_server_keys(
    chat_config: chat.Config, settings: dict[str, Any], is_open: bool
) -> None:
    """The usual layout: the server is on loopback, the proxy is not."""
    with capture_logs() as lines:

        def links() -> int:
            return [line["event"] for line in lines].count("upstream connected")

        async with RestartableServer.running(chat_config) as server:
            config = proxy.Config(host="127.0.0.1", port=0, upstream=server.address)
            async with proxy.serve(replace(config, **settings)):
                await eventually(lambda: links() == 1)
                await server.stop()
                await server.start()
                await eventually(lambda: links() == 2)
    told = [text for text in warned(lines) if "anyone" in text]
    text = "anyone who reaches this proxy may be anyone: the server has no token-keys"
    assert told == ([text] if is_open else [])


async def test_proxy_silent_with_server_keys(
    guarded_config: chat.Config, trusted_config: proxy.Config
) -> None:
    with capture_logs() as lines:
        async with chat.serve(guarded_config) as server:
            config = replace(trusted_config, host=EVERYWHERE, upstream=server.address)
            async with proxy.serve(config):
                await eventually(lambda: "upstream connected" in [line["event"] for line in lines])
    assert not [text for text in warned(lines) if "anyone" in text]
