"""The documented examples work."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import chat
import proxy
from gen.chat import ChangeMessageRequest, ChatServiceStub, Delete
from tests.support import PATIENCE_SECONDS, ChatCall, channel_to, message

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@asynccontextmanager
async def running(example: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Runs an example as a user would, once it has joined its room; yields what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / example), *arguments, stdout=PIPE, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"joined lobby\n"
        yield process.stdout
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


async def test_follower_gets_what_it_missed(chat_config: chat.Config, unused_tcp_port: int) -> None:
    """An edit and a reaction that came while it had no connection, each once."""
    config = replace(chat_config, port=unused_tcp_port)
    async with AsyncExitStack() as stack:
        async with chat.serve(config) as server, channel_to(server) as channel:
            stub = ChatServiceStub(channel)
            async with ChatCall(stub) as call:
                await call.post(message("lobby", "helo", key="1"))
                await call.post(message("lobby", "bye", key="2"))
            await change(stub, 2, "ada", react="👋")
            out = await stack.enter_async_context(
                running("grpc_follower.py", server.address, "lobby")
            )
            assert await lines(out, 2) == ["1 helo {}", "2 bye {'👋': 1}"]
        # The same history at another address, which it does not know.
        async with chat.serve(chat_config) as server, channel_to(server) as channel:
            stub = ChatServiceStub(channel)
            await change(stub, 1, "ada", content="hello")
            await change(stub, 1, "bob", react="👍")
            await change(stub, 2, "ada", delete=Delete())
        async with chat.serve(config) as server, channel_to(server) as channel:
            assert await lines(out, 3) == ["joined lobby", "1 hello {'👍': 1}", "2  {}"]
            await change(ChatServiceStub(channel), 1, "ada", react="👍")
            assert await lines(out, 1) == ["1 None {'👍': 2}"]


async def test_copy_of_a_room_outlives_lost_connections(
    chat_server: chat.RunningServer, unused_tcp_port: int
) -> None:
    """What is edited, and reacted to, while it has none is in it afterwards."""
    config = proxy.Config(host="127.0.0.1", port=unused_tcp_port, upstream=chat_server.address)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(channel_to(chat_server))
        stub = ChatServiceStub(channel)
        call = await stack.enter_async_context(ChatCall(stub))
        async with proxy.serve(config) as first:
            await call.enter("lobby")
            await call.post(message("lobby", "helo"))
            follower = running("websocket_follower.py", first.url, "lobby")
            out = await stack.enter_async_context(follower)
            assert await lines(out, 1) == ["1 helo"]
        await change(stub, 1, "ada", content="hello")
        await change(stub, 1, "ben", react="👍")
        async with proxy.serve(config):
            assert await lines(out, 2) == ["joined lobby", "1 hello 👍"]


async def change(stub: ChatServiceStub, seq: int, user_id: str, **asked: Any) -> None:
    await stub.change_message(ChangeMessageRequest("lobby", seq, user_id, **asked))


async def lines(output: asyncio.StreamReader, number: int) -> list[str]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [(await output.readline()).decode().rstrip("\n") for _ in range(number)]


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
    """At most about twenty lines: blank lines and docstring aside; to follow takes some more."""
    _, _, text = (EXAMPLES / example).read_text().removeprefix('"""').partition('"""')
    code = [
        line
        for line in text.splitlines()
        if line.strip() and not line.startswith(("import", "from"))
    ]
    assert len(code) <= (40 if example.endswith("follower.py") else 22)


def test_example_page_is_short() -> None:
    assert len((EXAMPLES / "page.html").read_text().splitlines()) <= 33
