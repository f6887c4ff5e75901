"""The frames, commands and programs shown in the documentation are run."""

import asyncio
import json
import os
import re
import shlex
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

import chat
import proxy
from gen.chat import ChatMessage, ChatServiceStub, ChatStream
from tests.docs.markdown import PAGES, ROOT, Section, blocks, page_name, section, sections
from tests.proxy.web_client import Client

GRPC: Final = ROOT / "docs/grpc-api.md"

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z")
# Variable parts of a frame: name and pattern.
_VARIABLE: Final = {
    # Of a message sent without an id.
    "id": re.compile(r"[0-9a-f]{32}"),
    "sent_at": _TIME,
    "edited_at": _TIME,
    "epoch": re.compile(r"[0-9a-f]{32}"),
}


def plain(value: Any, name: str = "") -> Any:
    """A frame with its variable parts replaced by their names."""
    if isinstance(value, dict):
        return {key: plain(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if name in _VARIABLE and _VARIABLE[name].fullmatch(value):
        return name
    return value


# What happened before a conversation, and is no part of it.
_BEFORE: Final = {
    "list_reactions": [
        {"change_message": {"room_id": "lobby", "seq": 1, "user_id": user_id, "react": "👍"}}
        for user_id in ("ben", "ada")
    ]
}


async def replay(client: Client, conversation: Section) -> None:
    """Sends the client's frames and expects the server's, in order."""
    for frame in _BEFORE.get(conversation.title, []):
        assert "changed_message" in await client.ask(**frame)
    for block in conversation.blocks:
        if block.info.startswith("json client"):
            await client.send_text(block.text.encode())
        elif block.info == "json server":
            assert plain(await client.receive()) == plain(json.loads(block.text))
    assert await client.barrier() == []


def conversations(page: Path) -> list[Section]:
    return [
        each
        for each in sections(page)
        # These need a server with keys: the tests of access have them.
        if each.title not in ("authenticate", "erase_user")
        # What is told unasked has its tests elsewhere.
        and any(block.info.startswith("json client") for block in each.blocks)
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if conversations(page)], ids=page_name)
async def test_page_conversations_are_real(page: Path, chat_proxy: proxy.RunningProxy) -> None:
    """Each section is one connection; a page is the life of one server."""
    async with aiohttp.ClientSession() as session:
        for conversation in conversations(page):
            async with session.ws_connect(chat_proxy.url) as socket:
                await replay(Client(socket), conversation)


def test_pages_with_conversations_are_known() -> None:
    """A page without its marks would no longer be tested."""
    names = {page_name(page) for page in PAGES if conversations(page)}
    assert names == {"README.md", "docs/fr/README.md", "docs/websocket-api.md"}


async def run(*command: str, cwd: Path = ROOT) -> str:
    """Runs a command that must succeed; returns its output."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=STDOUT, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


async def say_hello(stub: ChatServiceStub) -> None:
    """Stores a message in the room "lobby"."""
    hello = ChatMessage(id="1", room_id="lobby", sender_id="ada", content="hello")
    async for answer in stub.chat([ChatStream(chat_message=hello)]):
        assert answer.chat_message.seq == 1


def commands_of(page: Path, program: str) -> list[str]:
    """The commands of a page that run a program."""
    scripts = [block.text.replace("\\\n", "") for block in blocks(page, "sh")]
    return [
        line for text in scripts for line in text.splitlines() if line.startswith(f"{program} ")
    ]


async def test_buf_commands_work(chat_server: chat.RunningServer, stub: ChatServiceStub) -> None:
    await say_hello(stub)
    buf = str(Path(sys.executable).with_name("buf"))
    listed, history, said = [
        await run(buf, *shlex.split(command.replace("localhost:50051", chat_server.address))[1:])
        for command in commands_of(GRPC, "buf")
    ]
    assert "chat.ChatService/GetChatHistory" in listed.splitlines()
    [stored] = json.loads(history)["messages"]
    assert (stored["senderId"], stored["content"], stored["seq"]) == ("ada", "hello", 1)
    assert json.loads(said)["chatMessage"]["seq"] == 2


async def test_python_client_works(chat_server: chat.RunningServer, stub: ChatServiceStub) -> None:
    await say_hello(stub)
    [block] = section(GRPC, "From Python").blocks
    program = block.text.replace('"localhost", 50051', f'"{chat_server.host}", {chat_server.port}')
    assert program != block.text
    assert await run(sys.executable, "-c", program) == "1 ada hello\n"


def test_readme_suite_is_the_example() -> None:
    [block] = blocks(ROOT / "README.md", "python")
    assert block.text + "\n" == (ROOT / "examples/test_with_aiohttp.py").read_text(encoding="utf-8")
