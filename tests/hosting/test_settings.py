"""Settings: precedence of their sources, and refusals of a settings file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any, Final

import click
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chat.__main__
import chat.config
import proxy.__main__
import proxy.config
from hosting.rate_limits import Rates
from hosting.service import LogSettings
from hosting.settings import Setting, Settings, build, settings_of
from hosting.settings_file import check_table, read_tables
from tests.docs.markdown import ROOT, blocks
from tests.kit.processes import run
from tests.support import SHARING

COMMANDS: Final = {"chat": chat.__main__.command, "proxy": proxy.__main__.command}
SETTINGS: Final = {
    "chat": settings_of(chat.config.Config, LogSettings),
    "proxy": settings_of(proxy.config.Config, LogSettings),
}
# Values for file, variable and command line, where not any will do.
VALUES: Final[dict[str, tuple[Any, Any, Any]]] = {
    "upstream": ("a.example:1", "b.example:1", "c.example:1"),
    "upstream-tls": (True, False, True),
    "origins": (["https://a.example"], ["self", "null"], ["https://c.example"]),
    "trusted-proxies": (["192.0.2.1"], ["192.0.2.2", "192.0.2.3"], ["192.0.2.4"]),
    "proxy-names": (["a"], ["b", "c"], ["d"]),
    "metrics-port": (1, "off", 3),
    "database": ("a.db", "b.db", "postgresql://c.example/chat"),
    "hints": ("valkey://a.example", "redis://b.example:1", "valkeys://c.example"),
    "log-level": ("debug", "warning", "error"),
    "log-format": ("json", "readable", "json"),
}
MARKER: Final = "Zx9markerQw7"


def values(each: Setting) -> tuple[Any, Any, Any]:
    """One value for each source; each differs from the next."""
    if each.name in VALUES:
        return VALUES[each.name]
    if float in each.kind.types:
        return (1.5, 2.5, 3.5)
    return (1, 2, 3) if int in each.kind.types else ("a", "b", "c")


def written(value: Any) -> str:
    """A value as written outside of a file."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


def toml(table: str, key: str, value: Any) -> str:
    """A settings file with one key; for such values, JSON is TOML."""
    return f"[{table}]\n{key} = {orjson.dumps(value).decode()}\n"


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Sets variables while the context is open, and unsets all other settings."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(("CHAT_", "PROXY_")):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def parsed(module: str, *arguments: str) -> dict[str, Any]:
    """The config that a command makes of command line, environment and settings file."""
    return COMMANDS[module].make_context(module, list(arguments)).params


@pytest.mark.parametrize("module", SETTINGS)
def test_command_line_wins_over_environment_over_file(module: str, tmp_path: Path) -> None:
    """Each setting, from each combination of sources."""
    path = tmp_path / "settings.toml"
    for each, sources in product(SETTINGS[module], product([False, True], repeat=3)):
        in_file, in_environment, in_arguments = sources
        from_file, from_environment, from_arguments = values(each)
        path.write_text(toml(module, each.name, from_file) if in_file else f"[{module}]\n")
        variables = {each.variable(module): written(from_environment)} if in_environment else {}
        arguments = ["--config", str(path)]
        if in_arguments:
            is_flag = each.kind.types == (bool,)
            arguments += [f"--{each.name}", *([] if is_flag else [written(from_arguments)])]
        with environment(**variables):
            params = parsed(module, *arguments)
        expected = each.default
        for given_here, value in zip(sources, values(each), strict=True):
            expected = each.kind.read(value) if given_here else expected
        found = params[each.parameter]
        if isinstance(expected, tuple | frozenset):
            found, expected = set(found), set(expected)
        assert found == expected, (each.name, sources)


def test_settings_are_given_by_name() -> None:
    """A new one does not change the meaning of the others."""
    found: list[type[Settings | Rates]] = [*Settings.__subclasses__(), *Rates.__subclasses__()]
    for each in found:
        assert all(field.kw_only for field in fields(each)), each


@pytest.mark.parametrize("module", SETTINGS)
def test_command_and_object_defaults_agree(module: str) -> None:
    """Except the metrics port, which only the command opens by default."""
    with environment():
        values = parsed(module) | {"metrics_port": None}
    if module == "chat":
        assert build(chat.config.Config, values) == chat.config.Config()
    else:
        assert build(proxy.config.Config, values) == proxy.config.Config()


@pytest.mark.parametrize("module", SETTINGS)
def test_variable_sets_the_settings_file(module: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[chat]\nport = 1\n[proxy]\nport = 2\n")
    with environment(**{f"{module.upper()}_CONFIG": str(path)}):
        assert parsed(module)["port"] == {"chat": 1, "proxy": 2}[module]


def refusal(module: str, path: Path) -> str:
    """The refusal of a settings file; empty if it is accepted."""
    try:
        with environment():
            parsed(module, "--config", str(path))
    except click.UsageError as error:
        return error.format_message()
    return ""


REFUSED: Final = [
    ("nonsense", " is not TOML: "),
    ("[chat]\nport = 1\nport = 2\n", " is not TOML: "),
    ("x = " + "[" * 100_000, " is not TOML: "),
    ("x = " + "9" * 10_000, " is not TOML: "),
    ("#" * 2_000_000, " has more than 1048576 bytes"),
    ("\ud800", " is not UTF-8"),
    ("port = 1\n", ": 'port' is unknown: all must stand in [chat] and [proxy]"),
    ("[cat]\n", ": 'cat' is unknown: "),
    ("chat = 1\n", ": 'chat' is unknown: "),
    ("[chat]\nprt = 1\n", ": [chat] prt is no option of python -m chat"),
    ("[chat]\nupstream = 'a:1'\n", ": [chat] upstream is no option of python -m chat"),
    ("[chat]\nconfig = 'x'\n", ": [chat] config is no option of python -m chat"),
    ("[chat]\nport = '1'\n", ": [chat] port must be a whole number"),
    ("[chat]\nport = 1.0\n", ": [chat] port must be a whole number"),
    ("[chat]\nport = true\n", ": [chat] port must be a whole number"),
    ("[chat]\nport = 65536\n", ": [chat] port must be from 0 to 65535"),
    ("[chat]\nmetrics-port = 'on'\n", ": [chat] metrics-port must be from 0 to 65535, or off"),
    ("[chat]\nmailbox-bytes = 0\n", ": [chat] mailbox-bytes must be at least 1"),
    ("[chat]\nreplay-messages = -1\n", ": [chat] replay-messages must not be negative"),
    ("[chat]\ndrain-seconds = nan\n", ": [chat] drain-seconds must be a finite number, not"),
    ("[chat]\ndrain-seconds = 1" + "0" * 400, ": [chat] drain-seconds must be a finite number"),
    ("[chat]\nidle-seconds = 0\n", ": [chat] idle-seconds must be a finite number, more than 0"),
    ("[chat]\nsends-per-second = 1e-12\n", ": [chat] sends-per-second must be 0, or at least"),
    ("[chat]\nhost = 1\n", ": [chat] host must be a text"),
    ("[chat]\nhost = ''\n", ": [chat] host must not be empty"),
    ('[chat]\ntoken-keys = "a\\u0000"\n', ": [chat] token-keys must not contain NUL"),
    ("[chat]\nproxy-names = [1]\n", ": [chat] proxy-names must be a list of texts"),
    ("[chat]\nlog-level = 'loud'\n", ": [chat] log-level must be one of debug, info, "),
    ("[proxy]\nupstream-tls = 1\n", ": [proxy] upstream-tls must be true or false"),
    ("[proxy]\nupstream = 'a'\n", ": [proxy] upstream must be HOST:PORT, "),
    ("[proxy]\norigins = ['a']\n", ": [proxy] origins must be such as https://"),
    ("[proxy]\ncall-seconds = 1e9\n", ": [proxy] call-seconds must be at most 99999999"),
]


@pytest.mark.parametrize(("text", "rule"), REFUSED)
def test_refusal_names_file_key_and_rule(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    message = refusal("proxy" if text.startswith("[proxy]") else "chat", path)
    assert f"{path}{rule}" in message


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "none.toml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        assert f"cannot read {path}: {why}" in refusal("chat", path)


async def test_file_refusal_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[chat]\nport = 'many'\n")
    command = await run("chat", CHAT_CONFIG=str(path))
    assert (command.status, command.output) == (2, "")
    told = f"{path}: [chat] port must be a whole number"
    assert command.errors == (
        f"python -m chat: Invalid value for '--config' (env var: 'CHAT_CONFIG'): {told}\n"
    )


@pytest.mark.parametrize("module", SETTINGS)
def test_value_of_wrong_type_is_not_shown(module: str, tmp_path: Path) -> None:
    """It may be a misplaced secret."""
    path = tmp_path / "settings.toml"
    for each in SETTINGS[module]:
        wrong = {"secret": MARKER} if str in each.kind.types else MARKER
        shown = f'{{secret = "{MARKER}"}}' if isinstance(wrong, dict) else f'"{MARKER}"'
        path.write_text(f"[{module}]\n{each.name} = {shown}\n")
        message = refusal(module, path)
        assert f"{path}: [{module}] {each.name} must be " in message
        assert MARKER not in message


@settings(SHARING)
@given(
    content=st.binary()
    | st.text().map(str.encode)
    | st.builds(
        lambda table, each, value: f"[{table}]\n{each.name} = {value}".encode(),
        st.sampled_from(["chat", "proxy", "x"]),
        st.sampled_from(SETTINGS["chat"]),
        st.text(),
    )
)
def test_any_file_is_accepted_or_named(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    message = refusal("chat", path)
    assert not message or str(path) in message


def test_documented_settings_file_is_valid(tmp_path: Path) -> None:
    [block] = blocks(ROOT / "docs/options.md", "toml")
    path = tmp_path / "settings.toml"
    path.write_text(block.text)
    tables = read_tables(path)
    for name, known in SETTINGS.items():
        assert tables[name]
        check_table(path, name, tables[name], known)
