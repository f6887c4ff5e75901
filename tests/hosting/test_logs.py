"""Logs: one line per event, two formats, a variable level, ids."""

import asyncio
import json
import re
import signal
from pathlib import Path

from grpclib.metadata import encode_metadata
from hypothesis import example, given
from hypothesis import strategies as st

from hosting.metadata import from_metadata, of_request, to_metadata
from tests.kit.processes import Daemon, both_logged, ready_line, run_program, running
from tests.proxy.web_client import Client, message, visitor

JSON_DEBUG = ("--log-format", "json", "--log-level", "debug")
PROGRAM = """
import asyncio, logging, sys
import structlog
from structlog.contextvars import bound_contextvars
from hosting.logs import configure_logs, log_failure
configure_logs(*sys.argv[1:])
log = structlog.get_logger("chat.program")
with bound_contextvars(connection="c-1"):
    log.info("told", text="a\\nb\\x1b[31m\\x7f\\u2028\\udcff", number=1, path="/a b")
log.debug("not told")
try:
    {}["missing"]
except KeyError:
    log.exception("failed")
logging.getLogger("hpack").debug("a header")
logging.getLogger("asyncio").info("a detail")
logging.getLogger("aiohttp.server").warning("of a library: %s", "line\\nbreak")
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_failure)
    argument = "an " + "argument"  # not as it is in this line, which is part of the story
    loop.call_soon(lambda *_: 1 / 0, argument)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
"""


def printed(*arguments: str) -> list[str]:
    """The lines of the program above."""
    output, errors = run_program(PROGRAM, *arguments)
    assert output == ""
    assert errors.endswith("\n")
    return errors[:-1].split("\n")


def test_readable_event_is_one_line() -> None:
    lines = printed("info", "readable")
    assert len(lines) == 4
    for line in lines:
        assert line.isprintable()
        assert re.match(r"timestamp=\d{4}-\S+Z level=(info|warning|error) logger=\S+ event=", line)
    assert lines[0].endswith(
        r'event=told connection=c-1 text=a\nb\x1b[31m\x7f\u2028\udcff number=1 path="/a b"'
    )
    assert "KeyError: 'missing'" in lines[1]
    assert r'event="of a library: line\nbreak"' in lines[2]
    assert "ZeroDivisionError" in lines[3]
    assert "an argument" not in lines[3]


def test_json_event_is_one_object() -> None:
    lines = printed("info", "json")
    assert all(line.isascii() and line.isprintable() for line in lines)
    told, failed, library, loop = map(json.loads, lines)
    assert list(told)[:5] == ["timestamp", "level", "logger", "event", "connection"]
    del told["timestamp"]
    assert told == {
        "level": "info",
        "logger": "chat.program",
        "event": "told",
        "connection": "c-1",
        "text": "a\nb\x1b[31m\x7f\u2028\udcff",
        "number": 1,
        "path": "/a b",
    }
    assert failed["exception"].endswith("KeyError: 'missing'")
    assert library["event"] == "of a library: line\nbreak"
    assert loop["level"] == "error"
    assert "an argument" not in lines[3]


def test_debug_level_excludes_libraries() -> None:
    lines = [json.loads(line)["event"] for line in printed("debug", "json")]
    assert lines[1] == "not told"
    assert len(lines) == 5
    assert len(printed("error", "json")) == 2


# Ids.


@given(st.text())
@example("")
def test_request_id_survives_metadata(request_id: str) -> None:
    with of_request(request_id):
        metadata = to_metadata()
    encode_metadata(metadata)  # otherwise no call could be made
    if not request_id:
        assert metadata == {}
        return
    assert metadata["chat-request"].isascii()
    assert len(metadata["chat-request"]) <= 768
    found = from_metadata(metadata)["request_id"]
    assert len(found) <= 64
    assert found == request_id if len(request_id) <= 64 else found[:63] == request_id[:63]
    assert to_metadata() == {}


@given(st.text(max_size=2000))
def test_correlation_ids_are_bounded(value: str) -> None:
    found = from_metadata({"chat-connection": value, "chat-request": value})
    assert all(len(each) <= 64 for each in found.values())
    assert from_metadata(None) == {}


async def test_both_logs_have_the_same_ids(tmp_path: Path) -> None:
    # Only the last address is trusted, none that stands before it.
    forwarded = {"X-Forwarded-For": "203.0.113.1, 198.51.100.7"}
    trusted = {"PROXY_TRUSTED_PROXIES": "127.0.0.1"}
    async with both_logged(tmp_path, *JSON_DEBUG, **trusted) as (server, door):
        await door.event("upstream connected")
        async with (
            visitor(door.address, headers=forwarded) as client,
            visitor(door.address) as other,
        ):
            for each, request_id in ((client, "what? \N{SNOWMAN}"), (other, "x" * 100)):
                await each.send(get_user={"user_id": "ada"}, request_id=request_id)
                assert (await each.receive())["error"]["code"] == "NOT_FOUND"
            await check_refs(server, door, client, other)
        await check_both(server, door)


async def check_both(server: Daemon, door: Daemon) -> None:
    """Checks the lines of each connection and of its call."""
    names = []
    for request_id, peer in (
        ("what? \N{SNOWMAN}", "198.51.100.7"),
        ("x" * 63 + "\N{HORIZONTAL ELLIPSIS}", "127.0.0.1"),
    ):
        refused = await door.event("frame refused", request_id=request_id)
        ids = {name: refused[name] for name in ("connection", "request_id")}
        called = await server.event("call ended", **ids)
        assert (called["method"], called["status"]) == ("/chat.ChatService/GetUser", "NOT_FOUND")
        assert called["call"] >= 1
        assert called["peer"].startswith("127.0.0.1:")
        opened = await door.event("connection opened", connection=ids["connection"])
        assert opened["peer"] == peer
        closed = await door.event("connection closed", connection=ids["connection"])
        assert (closed["code"], closed["frames"]) == (1000, 2)
        assert closed["seconds"] >= 0
        names.append(ids["connection"])
    assert len(set(names)) == 2


async def check_refs(server: Daemon, door: Daemon, *clients: Client) -> None:
    """Checks that a refused message has one reference in both logs."""
    refs, connections = [], set()
    for client, named in zip(clients, ({}, {"request_id": "7"}), strict=True):
        await client.send(chat_message=message("lobby", ""), **named)
        assert (await client.receive())["error"]["code"] == "INVALID_ARGUMENT"
        *_, refused = [line for line in door.lines() if line["event"] == "frame refused"]
        refs.append(refused["ref"])
        connections.add(refused["connection"])
        assert refused.get("request_id") == named.get("request_id")
        line = await server.event("command refused", ref=refs[-1], code="INVALID_ARGUMENT")
        assert line["method"] == "/chat.RelayService/Relay"
    assert len(connections) == len(set(refs)) == 2


# The level.


async def test_signals_change_the_level_of_both() -> None:
    own = {"HOST": "127.0.0.1", "PORT": "0", "LOG_FORMAT": "json", "LOG_LEVEL": "error"}
    environment = {f"{name}_{key}": own[key] for name in ("CHAT", "PROXY") for key in own}
    async with running("hosting.run_both", CHAT_DATABASE=":memory:", **environment) as pair:
        url = [await ready_line(pair) for _ in range(2)][1].split()[-1]
        lines = []
        async with visitor(url) as client:
            assert "error" in await client.ask(get_user={"user_id": "ada"})
            for number, level in ((signal.SIGUSR1, "debug"), (signal.SIGUSR2, "error")):
                pair.send_signal(number)
                assert pair.stderr is not None
                told = 0
                async with asyncio.timeout(30):
                    while told < 2:
                        lines.append(json.loads(await pair.stderr.readline()))
                        told += lines[-1].items() >= {
                            "event": "log level changed", "to": level,
                        }.items()  # fmt: skip
                assert "error" in await client.ask(get_user={"user_id": "ada"})
        pair.terminate()
        _, errors = await pair.communicate()
        assert pair.returncode == 0
    lines += map(json.loads, errors.splitlines())
    # Of the three.
    assert [line.get("method") for line in lines].count("/chat.ChatService/GetUser") == 1
