"""`python -m daemon.pair`, which `nox -s serve` runs: both processes, one terminal."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.daemon.processes import not_listening
from tests.faults.stuck import UNREAD_BYTES, stuck_reader

ROOT = Path(__file__).parents[2]
PORTS = {
    "CHAT_HOST": "127.0.0.1",
    "CHAT_PORT": "0",
    "PROXY_HOST": "127.0.0.1",
    "PROXY_PORT": "0",
    "CHAT_METRICS_PORT": "0",
    "PROXY_METRICS_PORT": "0",
}


@asynccontextmanager
async def pair(folder: Path, **environment: str) -> AsyncIterator[Process]:
    """Starts both in a folder of their own; kills the pair if it is still there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon.pair", cwd=folder, stdout=PIPE, stderr=PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **PORTS, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def ready_lines(process: Process) -> list[str]:
    """Waits for the line of each."""
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode() for _ in range(2)]


def children(process: Process) -> dict[str, int]:
    """The process ids of the two, by module."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for pid in pids:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        found[arguments[2].decode()] = int(pid)
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def check_ended(pidfds: list[int]) -> None:
    """No process is left behind."""
    for end in pidfds:
        ready, _, _ = await asyncio.to_thread(select.select, [end], [], [], 10)
        os.close(end)
        assert ready, "a process was left behind"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_both_serve_and_stop_together(tmp_path: Path, number: signal.Signals) -> None:
    async with pair(tmp_path) as process:
        chat_line, proxy_line = await ready_lines(process)
        assert re.fullmatch(r"chat server ready: gRPC on 127\.0\.0\.1:\d+\n", chat_line)
        found = re.search(r"http://127\.0\.0\.1:\d+/", proxy_line)
        assert found is not None
        async with aiohttp.ClientSession() as session, session.ws_connect(found[0]) as client:
            message = {"room_id": "lobby", "sender_id": "ada", "content": "hello"}
            await client.send_json({"chat_message": message})
            assert (await client.receive_json())["chat_message"]["seq"] == 1
        pids = children(process)
        assert set(pids) == {"chat", "proxy"}
        process.send_signal(number)
        assert await process.wait() == 0
        assert not any(map(alive, pids.values()))
    assert (tmp_path / "data" / "chat.db").is_file()


@pytest.mark.parametrize(("killed", "other"), [("chat", "proxy"), ("proxy", "chat")])
async def test_if_one_dies_the_other_is_stopped(tmp_path: Path, killed: str, other: str) -> None:
    async with pair(tmp_path) as process:
        await ready_lines(process)
        pids = children(process)
        os.kill(pids[killed], signal.SIGKILL)
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert f"the {killed} process ended with status -9".encode() in errors
        assert not alive(pids[other])


@pytest.mark.parametrize("setting", ["CHAT_PORT", "PROXY_PORT"])
async def test_a_port_in_use_is_named(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with pair(tmp_path, **{setting: str(port)}) as process:
            _, errors = await process.communicate()
    assert process.returncode == 1
    assert (
        f"cannot listen on 127.0.0.1:{port}: another process is using this port" in errors.decode()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with pair(tmp_path) as process:
        await ready_lines(process)
        pids = children(process)
        ends = [os.pidfd_open(pid) for pid in pids.values()]
        # A stopped proxy cannot end in order, so the pair is still waiting for it.
        os.kill(pids["proxy"], signal.SIGSTOP)
        process.send_signal(number)
        while process.returncode is None:
            process.send_signal(number)
            try:
                await asyncio.wait_for(process.wait(), 0.2)
            except TimeoutError:
                continue
        assert process.returncode == 128 + number
        await check_ended(ends)


async def test_a_second_signal_ends_a_stop_that_a_client_holds_up(tmp_path: Path) -> None:
    patience = {"PROXY_DRAIN_SECONDS": "1000", "PROXY_MAILBOX_BYTES": str(UNREAD_BYTES)}
    async with pair(tmp_path, **patience) as process:
        url = (await ready_lines(process))[1].split()[-1]
        async with stuck_reader(url):
            ends = [os.pidfd_open(pid) for pid in children(process).values()]
            process.send_signal(signal.SIGTERM)
            await not_listening(urlsplit(url).port or 0)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 128 + signal.SIGTERM
            await check_ended(ends)
