"""Hostile environment variables and paths: one line, and no traceback."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chat
import proxy
from chat.core.rules import LARGEST_CONTENT
from hosting.options import Text, Words
from hosting.service import LogSettings
from hosting.settings import settings_of
from hosting.text import is_text
from proxy.config import LARGEST_FRAME, LONGEST_CALL
from tests.kit.processes import ROOT, ended, ready_line, running
from tests.proxy.web_client import message, seqs, visitor
from tests.support import SHARING

# Serving is impossible: neither database nor address can be opened.
NOWHERE = {"chat": {"CHAT_DATABASE": "/proc/none/x"}, "proxy": {"PROXY_HOST": "192.0.2.1"}}
GARBAGE: st.SearchStrategy[str] = (
    st.sampled_from(["", " ", "-1", "0", "1", "1e9", "1e400", "nan", "-inf", "0x10", "1_000"])
    | st.sampled_from(["\u0663", "9" * 5000, "true", "1;2", "../..", "%s{0}", "\N{SNOWMAN}"])
    | st.sampled_from(["\x1b[31mred", "a\nb", "\udcff\udc80"])
    | st.integers(-(2**70), 2**70).map(str)
    | st.floats().map(str)
    # An environment holds no NUL, and only the surrogates that stand for bytes.
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
)

Start = Callable[..., tuple[int | None, str, str]]


SETTINGS = {
    "chat": settings_of(chat.Config, LogSettings),
    "proxy": settings_of(proxy.Config, LogSettings),
}


def variables(module: str) -> list[str]:
    """The environment variables of a command, from its help."""
    return [f"{module.upper()}_CONFIG", *(each.variable(module) for each in SETTINGS[module])]


@pytest.fixture(scope="module", params=["chat", "proxy"])
def module(request: pytest.FixtureRequest) -> str:
    """Each of the two commands."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder: deep enough that a short path cannot leave the test's folders."""
    folder = tmp_path_factory.mktemp("deep") / "/".join("deeper" for _ in range(10))
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def start(module: str, folder: Path) -> Iterator[Start]:
    """Runs a command with an environment and arguments, in a reused process."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CHAT_", "PROXY_"))}
    process = subprocess.Popen(  # noqa: S603 - a program of the tests
        [sys.executable, str(ROOT / "tests/hosting/many_starts.py"), module],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def start(environment: dict[str, str], *arguments: str) -> tuple[int | None, str, str]:
        settings = {**NOWHERE[module], **environment}
        requests.write(json.dumps([settings, arguments]) + "\n")
        requests.flush()
        status, output, errors = json.loads(answers.readline())
        return status, output, errors

    yield start
    requests.close()
    process.wait()
    answers.close()


WRONG = [
    (["--nonsense"], "--nonsense"),
    (["nonsense"], "nonsense"),
    (["--port", "many"], "many"),
    (["--port", "65536"], "65536"),
    (["--drain-seconds", "nan"], "--drain-seconds"),
    (["--mailbox-bytes", "0"], "mailbox-bytes"),
    (["--host", ""], "host"),
    (["--log-level", "loud"], "loud"),
    *[(["--metrics-port", port], "--metrics-port") for port in ("-1", "65536", "on", "")],
]
NO_ADDRESSES = ["", "nowhere", "127.0.0.1:0", "http://127.0.0.1:50051"]
WRONG_OF: dict[str, list[tuple[dict[str, str], list[str], tuple[str, ...]]]] = {
    "chat": [({"CHAT_PORT": "x"}, [], ("CHAT_PORT", "'x'"))],
    "proxy": [
        ({"PROXY_FRAME_BYTES": "1.5"}, [], ("PROXY_FRAME_BYTES", "'1.5'")),
        *[
            ({}, ["--upstream", each], ("upstream must be HOST:PORT", repr(each)))
            for each in NO_ADDRESSES
        ],
    ],
}


def test_wrong_setting_is_named(module: str, start: Start) -> None:
    wrong = [*WRONG_OF[module], *(({}, options, (part,)) for options, part in WRONG)]
    for environment, options, parts in wrong:
        status, output, errors = start(environment, *options)
        assert status not in {0, None}
        assert output == ""
        assert re.fullmatch(f"python -m {module}: .+\n", errors), errors
        for part in parts:
            assert part in errors


def test_any_variable_is_taken_or_named(module: str, start: Start) -> None:
    names = variables(module)
    assert len(names) >= 13
    # These have tests of their own below.
    names = [name for name in names if not name.endswith(("_HOST", "_DATABASE"))]

    @settings(SHARING, max_examples=400)
    @given(name=st.sampled_from(names), value=GARBAGE)
    def check(name: str, value: str) -> None:
        status, output, errors = start({name: value})
        assert output == ""
        assert errors.endswith("\n")
        line = errors[:-1]
        assert line.startswith(f"python -m {module}: ")
        assert line.isprintable(), line
        option = name.removeprefix(f"{module.upper()}_").lower().replace("_", "-")
        if status == 2:
            assert option in line
        else:
            # The value was accepted; serving failed.
            assert status == 1
            assert "cannot " in line
            assert option not in line

    check()


@pytest.fixture(scope="module")
def taken_port() -> Iterator[str]:
    """A port in use on all addresses of this machine."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        yield str(taken.getsockname()[1])


ADDRESSES: st.SearchStrategy[str] = (
    st.ip_addresses().map(str)
    | st.tuples(st.ip_addresses(v=6), st.text(max_size=9)).map(lambda ip: f"{ip[0]}%{ip[1]}")
    | st.ip_addresses().map("[{}]".format)
    | st.from_regex(r"[a-z0-9-]{0,70}(\.[a-z0-9-]{0,70}){0,4}\.?", fullmatch=True)
).filter(lambda address: "\0" not in address)


@pytest.mark.parametrize("variable", ["HOST", "METRICS_HOST"])
def test_any_host_is_used_or_named(
    module: str, start: Start, taken_port: str, variable: str
) -> None:
    """A usable host fails by the port, which is in use."""
    prefix, option = module.upper(), variable.lower().replace("_", "-")
    port = variable.replace("HOST", "PORT")
    others = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "off", port: taken_port}
    environment = {f"{prefix}_{name}": value for name, value in others.items()}
    if module == "chat":
        environment["CHAT_DATABASE"] = ":memory:"
    seen = set()

    @settings(SHARING, max_examples=200)
    @given(value=GARBAGE | ADDRESSES)
    @example("0.0.0.0")  # noqa: S104 - is in use
    @example("127.0.0.1")
    @example("::1")
    @example("192.0.2.1")
    @example("not a host")
    @example("x" * 64)
    @example("a..b")
    @example("\N{SNOWMAN}" * 60)
    @example("\udcff")
    @example("a\nb" * 40)
    def check(value: str) -> None:
        status, output, errors = start({**environment, f"{prefix}_{variable}": value})
        assert output == ""
        assert errors.endswith("\n")
        line = errors[:-1]
        assert line.startswith(f"python -m {module}: ")
        assert line.isprintable(), line
        if status == 2:
            assert f"{option} must " in line or f"'--{option}'" in line
        else:
            assert status == 1
            found = re.search(
                f"cannot listen on .*:{taken_port}(?: for metrics)?: (.+); to change it: --", line
            )
            assert found, line
            assert "Unknown error" not in line
            seen.add(found[1])

    check()
    assert "another process is using this port" in seen


def test_undecodable_bytes_are_named(module: str, start: Start) -> None:
    """By option and by variable, as Python passes such bytes: as surrogates."""
    texts = [each for each in SETTINGS[module] if isinstance(each.kind.option, Text | Words)]
    assert len(texts) >= 10
    for each in texts:
        variable = each.variable(module)
        status, _, errors = start({variable: "a\udcff"})
        assert status == 2
        told = f"Invalid value for '--{each.name}' (env var: '{variable}'): It must be Unicode text"
        assert errors == f"python -m {module}: {told}, in UTF-8.\n"


@pytest.fixture
def not_databases(tmp_path: Path) -> list[Path]:
    """Paths that can hold no database."""
    for name in ("folder", "folder.lock/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "text").write_text("no database" * 1000)
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    names = ["folder", "folder/..", "text", "text/below.db", "loop", "pipe", "socket", "x" * 300]
    names += ["text/\x07\x1b[31m\n.db", "/".join(["y" * 200] * 30), "folder.lock/.."]
    devices = [Path("/dev/null"), Path("/dev/full"), Path("/dev/zero"), Path("/proc/none/x")]
    return [*(tmp_path / name for name in names), *devices]


@pytest.mark.parametrize("module", ["chat"], indirect=True, scope="module")
def test_unusable_database_is_named(
    tmp_path: Path, start: Start, not_databases: list[Path]
) -> None:
    before = {path.name for path in tmp_path.rglob("*")}
    devices = {*Path("/dev").glob("*.lock")}
    for path in not_databases:
        status, output, errors = start({"CHAT_DATABASE": str(path)})
        assert (status, output) == (1, ""), path
        assert re.fullmatch(r"python -m chat: cannot open the database .+: .+\n", errors), errors
        assert errors[:-1].isprintable()
    # Nothing is left beside a path that is no file.
    left = {path.name for path in tmp_path.rglob("*")} - before
    assert left <= {"text.lock", "loop.lock"}
    assert {*Path("/dev").glob("*.lock")} == devices


PATHS: st.SearchStrategy[str] = (
    GARBAGE
    | st.lists(st.sampled_from(["a", "b.db", "..", ".", "", "a.lock", "x" * 256]), max_size=9).map(
        "/".join
    )
    | st.sampled_from([":memory:", "file:x?mode=memory", "a/b.db-wal", "b.db-shm", "x" * 5000])
    # Relative, so that nothing is created elsewhere.
).map(lambda path: path.lstrip("/"))


@pytest.mark.parametrize("module", ["chat"], indirect=True, scope="module")
def test_any_database_is_opened_or_named(start: Start, folder: Path) -> None:
    # The address cannot be bound, whatever the database is.
    nowhere = {"CHAT_HOST": "192.0.2.1", "CHAT_METRICS_PORT": "off"}
    opened = set()

    @settings(SHARING, max_examples=300)
    @given(value=PATHS)
    @example("b.db")
    def check(value: str) -> None:
        status, output, errors = start({**nowhere, "CHAT_DATABASE": value})
        assert output == ""
        assert errors.endswith("\n")
        line = errors[:-1]
        assert line.isprintable(), line
        if not is_text(value):
            assert status == 2
            assert "'--database'" in line
            return
        assert status == 1, line
        if line.startswith("python -m chat: cannot listen on 192.0.2.1:"):
            opened.add(value)
            path = folder / (value or chat.Config().database)
            assert value == ":memory:" or path.read_bytes().startswith(b"SQLite format 3\0")
        else:
            assert line.startswith("python -m chat: cannot open the database "), line

    check()
    assert "b.db" in opened


NAMES = ["file:x?mode=memory", "?a=1&b=2.db", "%00.db", "a'b;--.db", " ", "new\nline\x1b[31m.db"]


async def test_strange_file_names_are_kept(tmp_path: Path) -> None:
    async def check(name: str) -> None:
        path = tmp_path / "folder" / name
        options = ("--host", "127.0.0.1", "--port", "0")
        async with running("chat", *options, CHAT_DATABASE=str(path)) as server:
            await ready_line(server)
            server.terminate()
            assert (await ended(server)).status == 0
        assert path.is_file()
        assert path.read_bytes().startswith(b"SQLite format 3\0")

    await asyncio.gather(*map(check, NAMES))


def as_large_as_may_be(module: str) -> dict[str, str]:
    """Each numeric setting at its maximum."""
    largest = {
        "CHAT_CONTENT_BYTES": str(LARGEST_CONTENT),
        "PROXY_FRAME_BYTES": str(LARGEST_FRAME),
        "PROXY_CALL_SECONDS": str(LONGEST_CALL),
        **dict.fromkeys(("CHAT_CONNECTIONS", "CHAT_STREAMS_PER_CONNECTION"), "2147483647"),
    }
    numbers = [each for each in SETTINGS[module] if {int, float} & {*each.kind.types}]
    ports = {"port", "metrics-port"}
    names = [each.variable(module) for each in numbers if each.name not in ports]
    much = {name: "1.7e308" if name.endswith("_SECONDS") else "9" * 30 for name in names}
    return much | {name: value for name, value in largest.items() if name in much}


async def test_largest_settings_work() -> None:
    loopback = ("--host", "127.0.0.1", "--port", "0")
    memory = {"CHAT_DATABASE": ":memory:"}
    async with running("chat", *loopback, **memory, **as_large_as_may_be("chat")) as server:
        upstream = (await ready_line(server)).split()[-1]
        settings = {"PROXY_UPSTREAM": upstream, **as_large_as_may_be("proxy")}
        async with running("proxy", *loopback, **settings) as door:
            url = (await ready_line(door)).split()[-1]
            async with visitor(url) as client:
                sent = message("lobby", "x" * 100_000)
                assert seqs([await client.ask(chat_message=sent)]) == [1]
                answer = await client.ask(get_user={"user_id": "ada"})
                assert answer["user"]["user"]["id"] == "ada"
            for process in (door, server):
                process.terminate()
                stopped = await ended(process)
                assert stopped.status == 0
                assert "Traceback" not in stopped.errors
