"""The documented examples work."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

import chat
import proxy

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@asynccontextmanager
async def running(example: str, *arguments: str) -> AsyncIterator[None]:
    """Runs an example as a user would, once it has joined its room."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / example), *arguments, stdout=PIPE, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"joined lobby\n"
        yield
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.parametrize("example", ["grpc_bot.py", "websocket_bot.py"])
async def test_bot_answers(
    example: str, chat_server: chat.RunningServer, chat_proxy: proxy.RunningProxy
) -> None:
    address = chat_server.address if example.startswith("grpc") else chat_proxy.url
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(chat_proxy.url) as socket,
        running(example, address, "lobby"),
    ):
        ping = {"room_id": "lobby", "sender_id": "ada", "content": "ping"}
        await socket.send_json({"chat_message": ping})
        heard = [(await socket.receive_json())["chat_message"] for _ in range(2)]
        assert [(message["sender_id"], message["content"]) for message in heard] == [
            ("ada", "ping"),
            ("bot", "pong"),
        ]


async def test_example_suite_passes() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", str(EXAMPLES / "test_with_aiohttp.py"),
        stdout=PIPE, cwd=ROOT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"1 passed" in output


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_examples_are_short(example: str) -> None:
    """At most about twenty lines: blank lines and docstring aside."""
    lines = (EXAMPLES / example).read_text().splitlines()
    code = [
        line for line in lines if line.strip() and not line.startswith(('"""', "import", "from"))
    ]
    assert len(code) <= 22


def test_example_page_is_short() -> None:
    assert len((EXAMPLES / "page.html").read_text().splitlines()) <= 33
