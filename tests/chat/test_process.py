"""The server as a process: how it ends, and what outlives it."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from grpclib.client import Channel

import codec
from gen.chat import ChatServiceStub, ChatStream
from tests.hosting.grpc.frames import Http2Client, payloads, prefixed
from tests.support import PATIENCE_SECONDS, ChatCall, message

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def run(folder: Path) -> AsyncIterator[Process]:
    """The server, on a database in a folder; it is killed if it is still there."""
    arguments = ("--host", "127.0.0.1", "--port", "0", "--metrics-port", "off")
    database = ("--database", str(folder / "chat.db"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chat", *arguments, *database), cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def address(process: Process) -> tuple[str, int]:
    """Waits for the line that says it is ready."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        line = (await process.stdout.readline()).decode()
    ready = re.fullmatch(r"chat server ready: gRPC on (127\.0\.0\.1):(\d+)\n", line)
    assert ready, line
    return ready[1], int(ready[2])


async def test_a_live_stream_is_told_of_the_stop(tmp_path: Path) -> None:
    async with (
        run(tmp_path) as process,
        Http2Client.connect(*await address(process)) as client,
    ):
        request = codec.encode(ChatStream(chat_message=message()))
        stream = client.request("/chat.ChatService/Chat", prefixed(request))
        [answer] = payloads(await client.data(stream))
        assert codec.decode(ChatStream, answer).chat_message.seq == 1
        process.terminate()
        assert await client.status(stream) == (14, "the server is shutting down")
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, errors = await process.communicate()
    assert (process.returncode, output, errors) == (0, b"", b"")


async def test_the_history_outlives_a_kill(tmp_path: Path) -> None:
    for expected in (1, 2):
        async with run(tmp_path) as process:
            channel = Channel(*await address(process), codec=codec.GrpcCodec())
            async with ChatCall(ChatServiceStub(channel)) as call:
                assert (await call.post(message())).seq == expected
            channel.close()
            process.kill()
            await process.wait()
