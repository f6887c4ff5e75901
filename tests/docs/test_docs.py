"""The documentation matches the code: options, frames, codes, calls, names and links."""

import ast
import re
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final
from urllib.parse import unquote

import click
import pytest
from betterproto import which_one_of
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpclib import GRPCError, Status

import chat.__main__
import chat.errors
import codec
import proxy.__main__
from chat.errors import ChatError
from gen.chat import ClientFrame, ErrorCode, ServerFrame
from hosting.rate_limits import Rates
from proxy.errors import CloseCode
from proxy.upstream.status import from_grpc
from tests.docs.markdown import (
    PAGES,
    ROOT,
    Block,
    Section,
    blocks,
    code,
    page_name,
    section,
    sections,
)

WEBSOCKET: Final = ROOT / "docs/websocket-api.md"
GRPC: Final = ROOT / "docs/grpc-api.md"
COMMANDS: Final = {"chat": chat.__main__.command, "proxy": proxy.__main__.command}

_UNITS: Final = {"KiB": 1024, "MiB": 1024 * 1024}


def read_schema() -> FileDescriptor:
    """The schema's descriptors, from protoc."""
    pool = DescriptorPool()
    described = FileDescriptorSet.FromString((files("gen") / "descriptor.binpb").read_bytes())
    for file in described.file:
        pool.Add(file)
    return pool.FindFileByName("chat.proto")


SCHEMA: Final = read_schema()
METHODS: Final[list[MethodDescriptor]] = [
    method for service in SCHEMA.services_by_name.values() for method in service.methods
]


# Options.


def options(command: click.Command) -> dict[str, tuple[object, str]]:
    """The environment variable and the default of each option."""
    return {
        option.opts[0]: (option.envvar, str(option.default))
        for option in command.params
        if isinstance(option, click.Option)
    }


def number(bound: str) -> float:
    """The number denoted by a bound such as "64 KiB"."""
    figure, _, unit = bound.partition(" ")
    return float(figure.replace(",", "")) * _UNITS.get(unit, 1)


def test_limits_match_the_defaults() -> None:
    limits = [row for row in section(WEBSOCKET, "Limits").rows() if row[3] != "fixed"]
    assert len(limits) > 5
    for _, bound, _, link in limits:
        [(module, option)] = re.findall(r"\[(\w+) `(--[a-z-]+)`\]", link)
        assert number(bound) == float(options(COMMANDS[module])[option][1]), option


@pytest.mark.parametrize("module", ["chat", "proxy"])
def test_each_kind_of_request_has_a_rate(module: str) -> None:
    """A kind of `Rates` that a process does not declare as a setting would have no limit."""
    links = {row[3] for row in section(WEBSOCKET, "Limits").rows()}
    for each in fields(Rates):
        # The chat server counts a page as a call; it does not count the messages in it.
        if (module, each.name) != ("chat", "history"):
            option = f"--{each.name}-per-second"
            assert float(options(COMMANDS[module])[option][1]) > 0
            assert f"[{module} `{option}`](options.md#python--m-{module})" in links


# Frames.


def payloads(frame: str) -> set[str]:
    """The members of a frame's oneof."""
    oneof = SCHEMA.message_types_by_name[frame].oneofs_by_name["payload"]
    return {field.name for field in oneof.fields}


def test_client_payloads_are_described() -> None:
    rows = {code(row[0])[0] for row in section(WEBSOCKET, "Client frames").rows()}
    titles = [each.title for each in sections(WEBSOCKET)]
    start = titles.index("Client frames") + 1
    assert rows == payloads("ClientFrame")
    assert set(titles[start : start + len(rows)]) == rows


def test_server_payloads_are_described() -> None:
    rows = {code(row[0])[0] for row in section(WEBSOCKET, "Server frames").rows()}
    assert rows == payloads("ServerFrame")


@pytest.mark.parametrize("title", sorted(payloads("ClientFrame")))
def test_payload_fields_are_described(title: str) -> None:
    """A payload with one field has it in its example only."""
    field = SCHEMA.message_types_by_name["ClientFrame"].fields_by_name[title]
    described = section(WEBSOCKET, title)
    assert field.message_type is not None
    text = "\n".join([*described.lines, *(block.text for block in described.blocks)])
    for each in field.message_type.fields:
        assert f"`{each.name}`" in text or f'"{each.name}"' in text, each.name


def json_blocks() -> list[Any]:
    return [
        pytest.param(block, id=f"{page_name(page)}-{block.text[:40]}")
        for page in PAGES
        for block in blocks(page, "json")
    ]


@pytest.mark.parametrize("block", json_blocks())
def test_example_frames_match_the_schema(block: Block) -> None:
    """The info string names the sender."""
    match block.info:
        case "json client":
            assert which_one_of(codec.from_json(ClientFrame, block.text), "payload")[0]
        case "json client wrong":
            with pytest.raises(codec.DecodeError):
                codec.from_json(ClientFrame, block.text)
        case "json server":
            assert which_one_of(codec.from_json(ServerFrame, block.text), "payload")[0]
        case _:
            pytest.fail(f"who sends this? {block.info}")


# Codes.


def named_in(package: str, *enums: str) -> set[str]:
    """The enum members used by the modules of a package."""
    return {
        node.attr
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in enums
    }


def server_statuses() -> set[str]:
    kinds = [each for each in vars(chat.errors).values() if isinstance(each, type)]
    codes = {each.code for each in kinds if issubclass(each, ChatError) and each is not ChatError}
    return codes | named_in("hosting/grpc", "Status")


def described_errors() -> dict[str, str]:
    """The documented advice on a retry, by error code."""
    return {
        name: retry
        for names, _, retry in section(WEBSOCKET, "Errors").rows()
        for name in code(names)
    }


def test_error_codes_are_described() -> None:
    used = server_statuses() | named_in("proxy", "Status", "ErrorCode")
    assert set(described_errors()) == used
    assert used <= {code.name for code in ErrorCode}


@pytest.mark.parametrize("name", sorted(described_errors().keys() - {"RESOURCE_EXHAUSTED"}))
def test_retry_advice_matches_the_code(name: str) -> None:
    error = from_grpc(GRPCError(Status[name], "why"), "get_user")
    assert described_errors()[name] == ("yes" if error.retryable else "no")


def test_statuses_are_described() -> None:
    rows = section(GRPC, "Statuses of all methods").rows()
    described = {name for row in rows for name in code(row[0])}
    assert server_statuses() == described


def test_close_codes_are_described() -> None:
    rows = list(section(WEBSOCKET, "Close codes").rows())
    described = {(int(number), code(name)[0]) for number, name, _, _ in rows}
    assert described == {(close.value, close.name) for close in CloseCode}
    for number, _, _, again in rows:
        assert again.startswith("no" if int(number) >= 4500 else "yes")


# Calls.


def test_calls_are_described() -> None:
    services = [each.title for each in sections(GRPC) if each.title.endswith("Service")]
    assert services == list(SCHEMA.services_by_name)
    described = [each.title for each in sections(GRPC) if each.level == 3]
    assert set(described) - {"Statuses of all methods"} == {method.name for method in METHODS}


def fields_within(*messages: Descriptor) -> set[tuple[str, int]]:
    """The names and numbers of the fields of messages, nested ones included."""
    found, waiting = set(), list(messages)
    while waiting:
        for field in waiting.pop().fields:
            found.add((field.name, field.number))
            if field.message_type is not None:
                waiting.append(field.message_type)
    return found


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_call_fields_are_described_by_number(method: MethodDescriptor) -> None:
    text = "\n".join(section(GRPC, method.name).lines)
    described = {(name, int(number)) for name, number in re.findall(r"`(\w+)` = (\d+)", text)}
    ends = (method.input_type, method.output_type)
    assert described <= fields_within(*ends)
    assert described >= {(field.name, field.number) for end in ends for field in end.fields}


# Names, commands and links.


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_named_modules_and_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:chat|codec|hosting|proxy)(?:\.[a-z_]\w*)+)`", text):
        if not name.endswith((".proto", ".db", ".lock")):
            resolve_name(name)
    tops = "bench|chat|codec|deploy|docs|examples|gen|hosting|proto|proxy|tests"
    for name in re.findall(rf"`((?:{tops})/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name


def nox_sessions() -> set[str]:
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each).startswith("nox.session") for each in node.decorator_list)
    }


def test_nox_sessions_are_described() -> None:
    rows = section(ROOT / "CONTRIBUTING.md", "Sessions").rows()
    assert {code(row[0])[0] for row in rows} == {f"nox -s {name}" for name in nox_sessions()}
    for page in PAGES:
        named = re.findall(r"nox -s (\w+)", page.read_text(encoding="utf-8"))
        assert set(named) <= nox_sessions()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/fr/README.md"], ids=page_name)
def test_two_commands_start_everything(page: Path) -> None:
    assert [block.text for block in blocks(page, "sh")] == [
        "python3 -m pip install nox && python3 -m nox -s serve",
        "python3 -m pip install nox && python3 -m nox -s tests",
    ]


def links(each: Section) -> list[str]:
    """The link targets of a section, code aside."""
    text = re.sub(r"`[^`]*`", "", "\n".join(each.lines))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_have_targets(page: Path) -> None:
    for link in (link for each in sections(page) for link in links(each)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in {each.anchor for each in sections(target)}, link
