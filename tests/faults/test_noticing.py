"""Time to notice a silent peer: the bounds of docs/reliability.md, by default.

Servers and sockets are real. The clock of their event loop is simulated: it jumps to
the bound, and then stands still while the consequences arrive.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

import chat
import proxy
from tests.clock import ClockLoop, run, turns
from tests.faults.link import Link
from tests.kit.http2 import Http2Client
from tests.kit.web import RawWebSocket, Wire, get
from tests.support import PATIENCE_SECONDS

SERVER_BOUND: Final = 15.0
CLIENT_BOUND: Final = 45.0
OPERATOR_BOUND: Final = 60.0
_STEP: Final = 0.5
_TURNS: Final = 20


async def pass_time(loop: ClockLoop, seconds: float) -> None:
    """Passes time in steps, as a timer may start another one."""
    for _ in range(round(seconds / _STEP)):
        await loop.pass_time(_STEP)
        # Work of a due timer begins then, not at the next step.
        await turns(_TURNS)


async def soon(check: Callable[[], bool]) -> None:
    """Waits for a condition while the clock stands still."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < end
        await asyncio.to_thread(time.sleep, 0.01)


def said(lines: Iterable[Any], event: str) -> bool:
    return any(line["event"] == event for line in lines)


def chat_config(folder: Path) -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=str(folder / "chat.db"))


def test_proxy_notices_silent_server(tmp_path: Path) -> None:
    async def test(loop: ClockLoop) -> None:
        with capture_logs() as lines:
            async with chat.serve(chat_config(tmp_path)) as server, Link.to(server.address) as link:
                config = proxy.Config(host="127.0.0.1", port=0, upstream=link.address)
                async with proxy.serve(config):
                    await soon(lambda: said(lines, "upstream connected"))
                    link.strand()
                    await pass_time(loop, SERVER_BOUND - _STEP)
                    assert not said(lines, "upstream lost")
                    await pass_time(loop, _STEP)
                    await soon(lambda: said(lines, "upstream lost"))

    run(test)


def test_proxy_notices_silent_client() -> None:
    async def test(loop: ClockLoop) -> None:
        config = proxy.Config(host="127.0.0.1", port=0, upstream="127.0.0.1:1")
        async with proxy.serve(config) as running:
            client = await RawWebSocket.open(running.host, running.port)
            with capture_logs() as lines, closing(client):
                await pass_time(loop, CLIENT_BOUND - _STEP)
                assert not said(lines, "dead client dropped")
                await pass_time(loop, _STEP)
                await soon(lambda: said(lines, "dead client dropped"))
                await client.read_to_end()

    run(test)


def test_server_notices_silent_client(tmp_path: Path) -> None:
    async def test(loop: ClockLoop) -> None:
        async with (
            chat.serve(chat_config(tmp_path)) as server,
            Http2Client.connect(server.host, server.port) as client,
        ):
            # Its greeting has come: the server has met it.
            await client.event()
            with capture_logs() as lines:
                await pass_time(loop, CLIENT_BOUND - _STEP)
                assert not said(lines, "dead client dropped")
                await pass_time(loop, _STEP)
                await soon(lambda: said(lines, "dead client dropped"))
            while await client.event() is not None:
                pass

    run(test)


@pytest.mark.parametrize("said", [b"", get("/metrics")[:-2]], ids=["nothing", "half a request"])
def test_metrics_port_drops_silent_connection(said: bytes) -> None:
    async def test(loop: ClockLoop) -> None:
        config = chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY, metrics_port=0)
        async with chat.serve(config) as server:
            port = urlsplit(server.status_url).port or 0
            async with await Wire.open(port) as silent, await Wire.open(port) as other:
                await silent.send(said)
                # The earlier ones are handled by then.
                await other.send(get("/healthz"))
                assert await other.rest()
                await pass_time(loop, OPERATOR_BOUND - _STEP)
                assert not silent.ended
                await pass_time(loop, _STEP)
                await soon(lambda: silent.ended)

    run(test)
