"""A Node client written against the original contract."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import chat
from gen.chat import ChangeMessageRequest, ChatMessage, ChatServiceStub, Delete
from tests.network import npm_install, npm_packages
from tests.support import ChatCall

SOURCES = Path(__file__).parents[2] / "node"
# The first run installs the client's packages.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest) -> Path:
    """The client's program, with its packages installed."""
    return npm_packages(SOURCES, request, "the Node client") / "client.mjs"


async def run(client: Path, address: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        "node",
        client,
        address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


def message(key: str, sender_id: str, content: str) -> dict[str, str]:
    return {"id": key, "room_id": "lobby", "sender_id": sender_id, "content": content}


FIRST = message("1", "ada", "hello")
SECOND = message("1", "bob", "hi, Ada 👋")
THIRD = message("2", "ada", "how are you?")


def frame(sent: dict[str, str]) -> dict[str, str]:
    return {"payload": "chat_message", **sent}


async def change(stub: ChatServiceStub) -> None:
    """Fills a room with an edited, a deleted and a plain message, to which somebody reacted."""
    async with ChatCall(stub) as call:
        for number in (1, 2, 3):
            await call.post(ChatMessage(str(number), "changed", "eve", f"text {number}"))
    changes: list[dict[str, Any]] = [{"content": "better"}, {"delete": Delete()}, {"react": "👍"}]
    for seq, asked in enumerate(changes, 1):
        await stub.change_message(ChangeMessageRequest("changed", seq, "eve", **asked))


async def test_node_client_works(
    client: Path, chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    await change(stub)
    seen = await run(client, chat_server.address)
    texts = [("1", "better"), ("2", ""), ("3", "text 3")]
    assert seen["changed"] == {
        "messages": [{**message(key, "eve", text), "room_id": "changed"} for key, text in texts]
    }
    late = [message("1", "eve", "before"), message("2", "eve", "after")]
    assert seen["late"] == [frame(each) for each in late]
    assert seen["nobody"] == {"code": 5, "details": "user_id: there is no user ada"}
    assert seen["ada"] == [frame(FIRST), frame(SECOND), frame(THIRD)]
    assert seen["bob"] == [frame(SECOND), frame(THIRD)]
    assert seen["again"] == frame(THIRD)
    bob = {"id": "bob", "name": "bob", "email": ""}
    assert seen["active"] == {"user": {**bob, "status": "ACTIVE"}}
    assert seen["inactive"] == {"user": {**bob, "status": "INACTIVE"}}
    assert seen["history"] == {"messages": [SECOND, THIRD]}
    assert seen["wholeHistory"] == {"messages": [FIRST, SECOND, THIRD]}
    assert seen["refused"] == {"code": 3, "details": "limit: must not be negative"}
    assert seen["closed"] == [{"done": True, "code": 0}] * 3


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_node_client_is_skipped_offline(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: Any
) -> None:
    shutil.copytree(SOURCES, tmp_path / "client", ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{unused_tcp_port}/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with pytest.raises(outcome.Exception, match="perhaps without a network"):
        npm_install(tmp_path / "client")
