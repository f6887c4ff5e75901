"""`kill -9` of the chat server, under load, behind a proxy."""

from __future__ import annotations

import asyncio
import re
import signal
from asyncio.subprocess import Process
from pathlib import Path

import proxy
from tests.hosting.processes import ready_line, running
from tests.proxy.pauses import check_all_once, talk
from tests.proxy.web_client import connect, joined, serve_http


async def test_nothing_is_lost_or_doubled(tmp_path: Path, unused_tcp_port: int) -> None:
    options = ("--host", "127.0.0.1", "--port", str(unused_tcp_port))
    database = ("--database", str(tmp_path / "chat.db"))
    upstream = f"127.0.0.1:{unused_tcp_port}"
    stop = asyncio.Event()
    async with serve_http(proxy.Config(upstream=upstream, hold_seconds=60.0)) as http:
        talkers: list[asyncio.Task[list[str]]] = []
        reader, frames = await connect(http), []
        for _ in range(3):
            async with running("chat", *options, *database) as server:
                assert re.match("chat server ready", await ready_line(server))
                if not talkers:
                    reader = await joined(http, "lobby")
                    for name in ("ada", "bob", "eve"):
                        talker = talk(await connect(http), name, stop)
                        talkers.append(asyncio.create_task(talker))
                frames += await reader.take(200)
                await kill(server)
        async with running("chat", *options, *database) as server:
            await ready_line(server)
            frames += await reader.take(50)
            stop.set()
            sent = {text for texts in await asyncio.gather(*talkers) for text in texts}
            frames += await reader.take(len(sent) - len(frames))
            check_all_once(frames, sent)
            late = await joined(http, "lobby", after_seq=0)
            assert await late.take(len(sent)) == frames


async def kill(server: Process) -> None:
    server.kill()
    assert await server.wait() == -signal.SIGKILL
