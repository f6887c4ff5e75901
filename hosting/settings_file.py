"""A settings file: TOML, with a table for each process.

For example::

    [chat]
    port = 50052

    [proxy]
    origins = ["https://chat.example.org"]

Each key is the name of an option. An environment variable wins over the file, and the
command line over both. One file may serve both processes: each reads its own table.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from hosting.options import TextPath
from hosting.settings import GroupedOption, Setting, variable_of

TABLES: Final = ("chat", "proxy")
"""The tables that a file may have."""

# Far more than all settings take: what is larger is another file.
_LARGEST: Final = 1024 * 1024


def read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """Reads a settings file.

    Returns:
        What stands in each of `TABLES`; it is not checked.

    Raises:
        ValueError: it cannot be read, is no TOML, or has other tables; the text names the file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"cannot read {path}: {why}") from error
    if len(content) > _LARGEST:
        raise ValueError(f"{path} has more than {_LARGEST} bytes")
    try:
        found = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    for name, table in found.items():
        if name not in TABLES or not isinstance(table, dict):
            tables = " and ".join(f"[{each}]" for each in TABLES)
            raise ValueError(f"{path}: {name!r} is unknown: all must stand in {tables}")
    return {name: found.get(name, {}) for name in TABLES}


def check_table(
    path: Path, name: str, table: Mapping[str, Any], settings: Iterable[Setting]
) -> None:
    """Checks what a file says for one process.

    Raises:
        ValueError: a key is unknown, or a value is of a wrong type or out of bounds; the
            text names the file, the key and the rule.
    """
    known = {each.name: each for each in settings}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"{path}: [{name}] {key} is no option of python -m {name}")
        kind = known[key].kind
        is_list = isinstance(value, list)
        # Not by isinstance: to Python, a bool is an int.
        if type(value) not in kind.types or (is_list and set(map(type, value)) - {str}):
            raise ValueError(f"{path}: [{name}] {key} must be {kind.form}")
        try:
            kind.check(key, kind.read(value))
        except ValueError as error:
            raise ValueError(f"{path}: [{name}] {error}") from None


def config_option(name: str, settings: Iterable[Setting]) -> GroupedOption:
    """The option ``--config``, which names a settings file.

    Args:
        name: the table of the process.
        settings: those that the table may have.
    """
    known = list(settings)

    def take(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
        if path is None:
            return
        try:
            table = read_tables(path)[name]
            check_table(path, name, table, known)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        ctx.default_map = {each.parameter: table[each.name] for each in known if each.name in table}

    return GroupedOption(
        ["--config"],
        group="Settings file",
        type=TextPath(path_type=Path),
        envvar=variable_of(name, "config"),
        help="A settings file in TOML; the environment and the command line win over it.",
        callback=take,
        is_eager=True,
        expose_value=False,
    )
