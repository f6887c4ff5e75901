"""The tutorial's new call: its diffs are applied to a copy of the project, and it is called."""

import asyncio
import json
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Final

import pytest

from tests.docs.markdown import ROOT, blocks, page_name

PAGES: Final = [ROOT / "docs/architecture.md", ROOT / "docs/fr/README.md"]

PROGRAM: Final = """
import asyncio, json
from aiohttp.test_utils import TestClient, TestServer
import chat, proxy

async def main():
    config = chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)
    async with chat.serve(config) as server:
        app = proxy.create_app(proxy.Config(upstream=server.address))
        async with TestClient(TestServer(app)) as client, client.ws_connect("/") as socket:
            for content in ("hello", "again"):
                message = {"room_id": "lobby", "sender_id": "ada", "content": content}
                await socket.send_json({"chat_message": message})
                await socket.receive_json()
            for room in ("lobby", "empty", ""):
                await socket.send_json({"count_messages": {"room_id": room}, "request_id": room})
                print(json.dumps(await socket.receive_json()))

asyncio.run(main())
"""


def apply(diff: str, folder: Path) -> None:
    """Applies a unified diff to one file; each hunk must match exactly once."""
    header, *hunks = re.split(r"^@@.*\n", diff + "\n", flags=re.MULTILINE)
    found = re.fullmatch(r"--- a/(\S+)\n\+\+\+ b/\1\n", header)
    assert found, header
    path = folder / found[1]
    text = path.read_text(encoding="utf-8")
    for hunk in hunks:
        lines = hunk.splitlines()
        old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


async def run(folder: Path, *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder, stdout=PIPE, stderr=PIPE,
        env={**os.environ, "PYTHONPATH": str(folder), "CHAT_PORT": "0"},
    )  # fmt: skip
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_added_call_works(tmp_path: Path) -> None:
    for package in ("chat", "codec", "hosting", "gen", "proto", "proxy"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    schema, handler = [block.text for block in blocks(PAGES[0], "diff")]

    apply(schema, tmp_path)
    status, _, errors = await run(tmp_path, "-m", "codec.generate")
    assert status == 0, errors
    status, output, errors = await run(tmp_path, "-m", "chat", "--database", ":memory:")
    assert (status, output) == (1, "")
    assert errors == (
        "python -m chat: no handler for chat.ChatService/CountMessages: "
        "proto/chat.proto has it, the chat package not\n"
    )

    apply(handler, tmp_path)
    status, output, errors = await run(tmp_path, "-c", PROGRAM)
    assert status == 0, errors
    assert [json.loads(line) for line in output.splitlines()] == [
        {"request_id": "lobby", "message_count": {"count": 2}},
        {"request_id": "empty", "message_count": {"count": 0}},
        {
            "request_id": "",
            "error": {
                "code": "INVALID_ARGUMENT",
                "message": "count_messages.room_id: must not be empty",
                "retryable": False,
            },
        },
    ]


@pytest.mark.parametrize("page", PAGES[1:], ids=page_name)
def test_languages_add_the_same_call(page: Path) -> None:
    assert blocks(page, "diff") == blocks(PAGES[0], "diff")
