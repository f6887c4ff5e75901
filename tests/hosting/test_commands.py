"""`python -m chat` and `python -m proxy` as processes: start, stop, options, errors."""

import asyncio
import re
import signal
import socket
from pathlib import Path

import aiohttp
import pytest
from grpclib.client import Channel
from grpclib.const import Cardinality

import chat
import codec
import proxy
from gen.chat import (
    ChatServiceStub,
    ChatStream,
    GetUserRequest,
    GetUserResponse,
    ListUsersRequest,
)
from hosting.service import LogSettings
from hosting.settings import settings_of
from tests.kit.http2 import Http2Client, prefixed
from tests.kit.processes import Ended, ended, not_listening, ready_line, run, running
from tests.support import message

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
            async with aiohttp.ClientSession() as session, session.ws_connect(found[1]) as client:
                sent = {"room_id": "lobby", "sender_id": "ada", "content": "hello"}
                await client.send_json({"chat_message": sent})
                assert (await client.receive_json())["chat_message"]["seq"] == 1
                for process in (door, server):
                    process.send_signal(number)
                assert (await client.receive()).data == 1001
            for process in (door, server):
                command = await ended(process)
                assert (command.status, command.output) == (0, "")
                assert "Traceback" not in command.errors
    assert (tmp_path / "data" / "chat.db").is_file()


async def test_stop_is_told_to_a_stream(tmp_path: Path) -> None:
    async with running("chat", *LOOPBACK, *database(tmp_path)) as server:
        port = port_in(await ready_line(server))
        async with Http2Client.connect("127.0.0.1", port) as client:
            request = codec.encode(ChatStream(chat_message=message()))
            stream = client.request("/chat.ChatService/Chat", prefixed(request))
            await client.data(stream)
            server.terminate()
            assert await client.status(stream) == (14, "the server is shutting down")
            assert await ended(server) == Ended(0, "", "")


async def test_second_signal_ends_the_server(tmp_path: Path) -> None:
    async with running("chat", *LOOPBACK, *database(tmp_path), "--drain-seconds", "1000") as server:
        port = port_in(await ready_line(server))
        async with Channel("127.0.0.1", port, codec=codec.GrpcCodec()) as channel:
            call = channel.request(
                "/chat.ChatService/GetUser",
                Cardinality.UNARY_UNARY,
                GetUserRequest,
                GetUserResponse,
            )
            async with call as open_call:
                # A call without a request keeps the server waiting.
                await open_call.send_request()
                await ChatServiceStub(channel).list_users(ListUsersRequest())  # behind it
                server.send_signal(signal.SIGTERM)
                await not_listening(port)
                assert server.returncode is None
                server.send_signal(signal.SIGTERM)
                assert (await ended(server)).status == 128 + signal.SIGTERM


async def test_second_signal_ends_the_proxy(unused_tcp_port: int) -> None:
    upstream = ("--upstream", f"127.0.0.1:{unused_tcp_port}")
    patience = ("--drain-seconds", "1000", "--hold-seconds", "1000")
    async with running("proxy", *LOOPBACK, *upstream, *patience) as door:
        port = port_in(await ready_line(door))
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{port}/") as client,
        ):
            sent = {"room_id": "lobby", "sender_id": "ada", "content": "held"}
            await client.send_json({"chat_message": sent})
            await client.send_json({"request_id": "refused behind it"})
            assert "error" in await client.receive_json()
            door.send_signal(signal.SIGINT)
            await not_listening(port)
            assert door.returncode is None
            door.send_signal(signal.SIGINT)
            assert (await ended(door)).status == 128 + signal.SIGINT


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


async def test_option_wins_over_variable(tmp_path: Path) -> None:
    variables = {
        "CHAT_HOST": "127.0.0.1",
        "CHAT_PORT": "1",
        "CHAT_DATABASE": str(tmp_path / "from variable.db"),
        "CHAT_ID_LENGTH": "5",
    }
    async with running("chat", "--port", "0", **variables) as server:
        port = port_in(await ready_line(server))
        async with Channel("127.0.0.1", port, codec=codec.GrpcCodec()) as channel:
            await ChatServiceStub(channel).list_users(ListUsersRequest())
        variables = {"PROXY_UPSTREAM": f"127.0.0.1:{port}", "PROXY_ROOMS_PER_CONNECTION": "1"}
        async with running("proxy", *LOOPBACK, **variables) as door:
            address = f"http://127.0.0.1:{port_in(await ready_line(door))}/"
            async with aiohttp.ClientSession() as session, session.ws_connect(address) as client:
                for room_id, answer in (
                    ("longer", "INVALID_ARGUMENT"),
                    ("one", None),
                    ("two", "RESOURCE_EXHAUSTED"),
                ):
                    await client.send_json({"join": {"room_id": room_id}})
                    received = await client.receive_json()
                    assert received.get("error", {}).get("code") == answer
    assert (tmp_path / "from variable.db").is_file()


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


@pytest.mark.parametrize("host", ["192.0.2.1", "not a host"])
async def test_unusable_host_is_named(tmp_path: Path, host: str) -> None:
    options = ("--host", host, "--port", "0")
    commands = await asyncio.gather(
        run("chat", *options, *database(tmp_path)), run("proxy", *options)
    )
    for command, module in zip(commands, MODULES, strict=True):
        check_one_line(command, module, f"cannot listen on {host}:0: ", "to change it: --host or ")
        assert "Unknown error" not in command.errors


async def test_database_in_use_is_named(tmp_path: Path) -> None:
    async with running("chat", *LOOPBACK, *database(tmp_path)) as server:
        await ready_line(server)
        command = await run("chat", *LOOPBACK, *database(tmp_path))
        check_one_line(command, "chat", "another server has it open")
