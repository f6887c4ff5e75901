"""`python -m chat` and `python -m proxy` as processes: start, stop, options, errors."""

import re
import signal
import socket
from pathlib import Path

import pytest

import chat
import codec
import proxy
from gen.chat import (
    ChatStream,
)
from hosting.service import LogSettings
from hosting.settings import settings_of
from tests.kit.http2 import Http2Client, prefixed
from tests.kit.processes import Ended, ended, ready_line, run, running
from tests.proxy.web_client import message, seqs, visitor
from tests.support import message as chat_message

LOOPBACK = ("--host", "127.0.0.1", "--port", "0")
MODULES = ("chat", "proxy")


def port_in(line: str) -> int:
    """The port in a ready line."""
    found = re.search(r":(\d+)/?$", line.strip())
    assert found is not None, line
    return int(found[1])


def check_one_line(command: Ended, module: str, *parts: str) -> None:
    """Checks that the command failed and named the cause in one line."""
    assert command.status not in {0, -signal.SIGKILL}
    assert command.output == ""
    assert re.fullmatch(f"python -m {module}: .+\n", command.errors), command.errors
    for part in parts:
        assert part in command.errors


def database(folder: Path) -> tuple[str, str]:
    return "--database", str(folder / "data" / "chat.db")


# Starting and stopping.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_commands_serve_and_stop(tmp_path: Path, number: signal.Signals) -> None:
    async with running("chat", *LOOPBACK, *database(tmp_path)) as server:
        line = await ready_line(server)
        assert re.fullmatch(r"chat server ready: gRPC on 127\.0\.0\.1:\d+\n", line)
        upstream = f"127.0.0.1:{port_in(line)}"
        async with running("proxy", *LOOPBACK, "--upstream", upstream) as door:
            line = await ready_line(door)
            found = re.fullmatch(
                r"chat proxy ready: page and WebSocket on (http://127\.0\.0\.1:\d+/)\n", line
            )
            assert found is not None
            async with visitor(found[1]) as client:
                assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
                for process in (door, server):
                    process.send_signal(number)
                assert await client.closed() == 1001
            for process in (door, server):
                command = await ended(process)
                assert (command.status, command.output) == (0, "")
                assert "Traceback" not in command.errors
    assert (tmp_path / "data" / "chat.db").is_file()


async def test_stop_is_told_to_a_stream(tmp_path: Path) -> None:
    async with running("chat", *LOOPBACK, *database(tmp_path)) as server:
        port = port_in(await ready_line(server))
        async with Http2Client.connect("127.0.0.1", port) as client:
            request = codec.encode(ChatStream(chat_message=chat_message()))
            stream = client.request("/chat.ChatService/Chat", prefixed(request))
            await client.data(stream)
            server.terminate()
            assert await client.status(stream) == (14, "the server is shutting down")
            assert await ended(server) == Ended(0, "", "")


# Options and environment variables.


@pytest.mark.parametrize("module", MODULES)
async def test_help_shows_each_setting_in_its_group(module: str) -> None:
    config = {"chat": chat.Config, "proxy": proxy.Config}[module]
    settings = settings_of(config, LogSettings)
    assert len(settings) > 35
    command = await run(module, "--help")
    assert (command.status, command.errors) == (0, "")
    lines = command.output.splitlines()
    assert {f"{each.group}:" for each in settings} <= set(lines)
    text = " ".join(command.output.split())
    for each in settings:
        assert f"--{each.name} " in text
        # Nothing is shown of an empty default, nor of a flag that is off.
        assert re.search(rf"\[env var: {each.variable(module)}(; default: |\])", text), each.name


@pytest.mark.parametrize(("option", "purpose"), [("port", ""), ("metrics-port", " for metrics")])
@pytest.mark.parametrize("module", MODULES)
async def test_port_in_use_is_named(tmp_path: Path, module: str, option: str, purpose: str) -> None:
    options = database(tmp_path) if module == "chat" else ()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = await run(module, *LOOPBACK, *options, f"--{option}", port)
    variable = f"{module}_{option}".upper().replace("-", "_")
    assert (command.status, command.output) == (1, "")
    assert command.errors == (
        f"python -m {module}: cannot listen on 127.0.0.1:{port}{purpose}: another process is "
        f"using this port; to change it: --{option} or {variable}, "
        f"with nox -s serve -- --{module}-{option}\n"
    )


async def test_database_in_use_is_named(tmp_path: Path) -> None:
    async with running("chat", *LOOPBACK, *database(tmp_path)) as server:
        await ready_line(server)
        command = await run("chat", *LOOPBACK, *database(tmp_path))
        check_one_line(command, "chat", "another server has it open")
