"""Any bytes at the proxy's port: answered or dropped, without a defect of the proxy's own."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import WSMsgType
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import chat
import proxy
from tests.kit.web import get, handshake, masked, post
from tests.support import ANY_NUMBER, MODEL, NO_RATES, PATIENCE_SECONDS, eventually

Change = Callable[[bytes], bytes]

MESSAGE = {"chat_message": {"room_id": "lobby", "sender_id": "ada", "content": "hello"}}
TEXT = masked(WSMsgType.TEXT, json.dumps(MESSAGE).encode())
# Well-formed input, to be mutated.
BEGINNINGS = [
    get("/"),
    get("/healthz", "X-Forwarded-For: 127.0.0.1"),
    get("/static/../page.js?x=1"),
    post("Content-Length: 5", body=b"hello"),
    post("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    handshake(),
    handshake(Origin="http://localhost", Sec_WebSocket_Protocol="chat, bearer.x"),
    handshake() + TEXT,
    handshake() + TEXT + masked(WSMsgType.PING, b"?") + masked(WSMsgType.CLOSE, b"\x03\xe8"),
]


def _replace(share: float, size: int, new: bytes) -> Change:
    def change(data: bytes) -> bytes:
        at = int(share * len(data))
        return data[:at] + new + data[at + size :]

    return change


# Bytes put in, changed, and taken out; the rest cut off.
changes = st.builds(
    _replace, st.floats(0, 1), st.integers(0, 8) | st.just(1 << 20), st.binary(max_size=8)
)
well_made = st.tuples(st.sampled_from(BEGINNINGS), st.lists(changes, max_size=4))
no_changes: list[Change] = []
nothing_at_all = st.tuples(st.binary(max_size=200), st.just(no_changes))


async def _attack(port: int, data: bytes) -> tuple[bytes, bytes]:
    """Sends bytes; returns the answer, and what another client gets meanwhile."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        other = b""
        try:
            writer.write(data)
            # Earlier input is handled by then.
            other = await _ask(port, get("/healthz"))
            writer.write_eof()
            return await reader.read(), other
        except ConnectionError:
            return b"", other  # dropped
        finally:
            writer.close()


async def _ask(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.timeout(240)
def test_proxy_answers_or_drops_any_bytes(caplog: pytest.LogCaptureFixture) -> None:
    config = chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)
    failures: list[dict[str, object]] = []
    with asyncio.Runner() as runner, capture_logs() as logs:
        runner.get_loop().set_exception_handler(lambda _, context: failures.append(context))
        stack = AsyncExitStack()
        server = runner.run(stack.enter_async_context(chat.serve(config)))
        door_config = proxy.Config(
            host="127.0.0.1", port=0, upstream=server.address, rates=NO_RATES, admission=ANY_NUMBER
        )
        door = runner.run(stack.enter_async_context(proxy.serve(door_config)))

        async def attack(data: bytes) -> None:
            answer, other = await _attack(door.port, data)
            # In the version that was asked for, be it 0.9.
            assert not answer or answer.startswith((b"HTTP/1.", b"HTTP/0.9 "))
            assert not answer.startswith((b"HTTP/1.1 500", b"HTTP/1.0 500", b"HTTP/0.9 500"))
            assert b"Traceback" not in answer
            assert other.startswith(b"HTTP/1.1 200")

        @settings(MODEL, max_examples=400)
        @given(well_made | nothing_at_all)
        def check(made: tuple[bytes, list[Change]]) -> None:
            data, how = made
            for change in how:
                data = change(data)
            runner.run(attack(data))

        check()
        runner.run(eventually(lambda: len(asyncio.all_tasks(runner.get_loop())) < 30))
        runner.run(stack.aclose())
    assert failures == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []
