"""`python -m hosting.run_both`, which `nox -s serve` runs: both processes, one terminal."""

import asyncio
import os
import re
import select
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

import chat.__main__
import proxy.__main__
from hosting.run_both import METRICS_PORTS
from tests.proxy.web_client import message, seqs, visitor

ROOT = Path(__file__).parents[2]
PORTS = {
    "CHAT_HOST": "127.0.0.1",
    "CHAT_PORT": "0",
    "PROXY_HOST": "127.0.0.1",
    "PROXY_PORT": "0",
    "CHAT_METRICS_PORT": "0",
    "PROXY_METRICS_PORT": "0",
}
# The refusal of --port.
NEITHER = (
    "No such option: --port. For python -m chat it is --chat-port, or the environment "
    "variable CHAT_PORT; for python -m proxy --proxy-port, or PROXY_PORT"
)


@asynccontextmanager
async def pair(folder: Path, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    """Starts both in a folder of their own; kills the pair if it is still there.

    An empty environment variable counts as unset.
    """
    settings = {"PYTHONPATH": str(ROOT), **PORTS, **environment}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hosting.run_both", *arguments, cwd=folder, stdout=PIPE, stderr=PIPE,
        env={**os.environ, **{name: value for name, value in settings.items() if value}},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def ready_lines(process: Process) -> list[str]:
    """Waits for the ready line of each process."""
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
    """Whether a process exists and is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def check_ended(pidfds: list[int]) -> None:
    """Checks that no process is left."""
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
        async with visitor(found[0]) as client:
            assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
        pids = children(process)
        assert set(pids) == {"chat", "proxy"}
        process.send_signal(number)
        assert await process.wait() == 0
        assert not any(map(alive, pids.values()))
    assert (tmp_path / "data" / "chat.db").is_file()


async def test_settings_file_is_for_both(tmp_path: Path) -> None:
    """The pair does not override the file's addresses."""
    (tmp_path / "both.toml").write_text(
        '[chat]\nhost = "localhost"\nport = 0\nmetrics-port = "off"\ndatabase = "other.db"\n'
        '[proxy]\nhost = "127.0.0.1"\nport = 0\nmetrics-port = "off"\nupstream = "127.0.0.1:1"\n'
    )
    async with pair(tmp_path, "--config", "both.toml", **dict.fromkeys(PORTS, "")) as process:
        chat_line, proxy_line = await ready_lines(process)
        assert "gRPC on localhost:" in chat_line
        found = re.search(r"http://127\.0\.0\.1:\d+/", proxy_line)
        assert found is not None
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{found[0]}readyz") as response,
        ):
            assert response.status == 503
    assert (tmp_path / "other.db").is_file()


async def test_unusable_settings_file_is_named(tmp_path: Path) -> None:
    async with pair(tmp_path, "--config=none.toml") as process:
        output, errors = await process.communicate()
    assert output == b""
    assert process.returncode == 2
    told = b"python -m hosting.run_both: cannot read none.toml: No such file or directory\n"
    assert errors == told


@pytest.mark.parametrize(("killed", "other"), [("chat", "proxy"), ("proxy", "chat")])
async def test_death_of_one_stops_the_other(tmp_path: Path, killed: str, other: str) -> None:
    async with pair(tmp_path) as process:
        await ready_lines(process)
        pids = children(process)
        os.kill(pids[killed], signal.SIGKILL)
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert f"the {killed} process ended with status -9".encode() in errors
        assert not alive(pids[other])


@pytest.mark.parametrize("option", ["chat-port", "proxy-port"])
async def test_port_in_use_is_one_message(tmp_path: Path, option: str) -> None:
    variable = option.replace("-", "_").upper()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with pair(tmp_path, **{variable: str(port), "CHAT_LOG_LEVEL": "error"}) as process:
            _, errors = await process.communicate()
    assert process.returncode == 1
    [line] = errors.decode().splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: another process is using this port" in line
    assert line.endswith(f"to change it: --port or {variable}, with nox -s serve -- --{option}")


# Arguments and defaults.


async def test_arguments_reach_their_process(tmp_path: Path, unused_tcp_port: int) -> None:
    arguments = ["--proxy-port", str(unused_tcp_port), "--chat-database=other.db"]
    arguments += ["--chat-metrics-port", "off", "--proxy-metrics-port=off"]
    async with pair(tmp_path, *arguments, CHAT_HOST="") as process:
        lines = await ready_lines(process)
        process.terminate()
        assert await process.wait() == 0
    # The server is on loopback by default.
    assert re.search(r"gRPC on 127\.0\.0\.1:\d+$", lines[0])
    assert lines[1].endswith(f"http://127.0.0.1:{unused_tcp_port}/\n")
    assert (tmp_path / "other.db").is_file()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--port=8081", NEITHER),
        ("8081", "Got unexpected extra argument (8081)"),
    ],
)
async def test_argument_for_neither_is_refused(tmp_path: Path, argument: str, said: str) -> None:
    async with pair(tmp_path, "--chat-port", "0", argument) as process:
        output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    [line] = errors.decode().splitlines()
    assert line.startswith(f"python -m hosting.run_both: {said}")


async def test_unknown_option_is_named_by_its_process(tmp_path: Path) -> None:
    async with pair(tmp_path, "--chat-mailbox", "1") as process:
        output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    assert errors.decode().startswith("python -m chat: No such option")


async def test_child_killed_at_start_is_named(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text("import os; os.kill(os.getpid(), 9)")
    async with pair(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}") as process:
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors == b"the chat process was ended at its start by signal 9\n"


async def test_metrics_ports_in_use_are_replaced(tmp_path: Path) -> None:
    with ExitStack() as held:
        for port in METRICS_PORTS.values():
            with suppress(OSError):  # then another process has it
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        async with pair(tmp_path, CHAT_METRICS_PORT="", PROXY_METRICS_PORT="") as process:
            await ready_lines(process)
            process.terminate()
            _, errors = await process.communicate()
    found = re.findall(r'event="metrics and status page" url=http://127.0.0.1:(\d+)/', str(errors))
    assert len(found) == 2
    assert not {int(port) for port in found} & set(METRICS_PORTS.values())


@pytest.mark.parametrize("name", METRICS_PORTS)
def test_metrics_ports_are_the_defaults(name: str) -> None:
    command = {"chat": chat.__main__.command, "proxy": proxy.__main__.command}[name]
    [option] = [each for each in command.params if each.name == "metrics_port"]
    assert option.default == METRICS_PORTS[name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_second_signal_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
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
