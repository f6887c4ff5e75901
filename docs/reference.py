"""Writes the tables of the documentation that come from declarations in the code.

Run as ``python -m docs.reference``; with ``--check``, it writes nothing and fails if one is
stale. Each table stands between two comments: ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import chat.config
import chat.report
import proxy.config
import proxy.report
from chat.metrics import ServerMetrics
from hosting.service import LogSettings
from hosting.settings import Setting, settings_of
from hosting.settings_file import config_option
from hosting.telemetry.families import Family, families
from proxy.metrics import ProxyMetrics

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DOCS: Final = Path(__file__).parent

_TABLE: Final = re.compile(r"(?<=<!-- table: )([a-z ]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def options(name: str, config: type[DataclassInstance]) -> str:
    """The options of a process, in groups, with their variables and defaults."""
    return "\n".join(_groups(name, settings_of(config, LogSettings)))


def _groups(name: str, settings: list[Setting]) -> Iterator[str]:
    group = ""
    for each in settings:
        if each.group != group:
            group = each.group
            yield from _heading(group)
        default = str(each.shown_default)
        shown = f"`{default}`" if default else "none"
        yield f"| `--{each.name}` | `{each.variable(name)}` | {shown} | {each.text} |"
    config = config_option(name, settings)
    yield from _heading(config.group)
    yield f"| `--config` | `{config.envvar}` | none | {config.help} |"


def _heading(group: str) -> list[str]:
    return [
        "",
        f"**{group}**",
        "",
        "| option | variable | default | meaning |",
        "|---|---|---|---|",
    ]


def metrics(declared: Iterable[Family], read: Iterable[tuple[Family, object]]) -> str:
    """The metrics of a process: those that are counted, and those that are read."""
    found = sorted([*declared, *(family for family, _ in read)], key=lambda each: each.name)
    rows = (f"| `{each.name}` | {each.kind} | {each.text} |" for each in found)
    return "\n".join(["", "| name | type | meaning |", "|---|---|---|", *rows])


TABLES: Final[dict[str, Callable[[], str]]] = {
    "chat options": lambda: options("chat", chat.config.Config),
    "proxy options": lambda: options("proxy", proxy.config.Config),
    "chat metrics": lambda: metrics(families(ServerMetrics), chat.report.FIGURES),
    "proxy metrics": lambda: metrics(families(ProxyMetrics), proxy.report.FIGURES),
}


def renew(page: str) -> str:
    """Returns a page with its tables made anew.

    Raises:
        KeyError: a table is unknown.
    """
    return _TABLE.sub(lambda found: f"{found[1]}{found[2]}{TABLES[found[1]]()}\n\n", page)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail and list what is stale.")
def main(check: bool) -> None:
    """Writes the generated tables of the documentation."""
    stale = False
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (renewed := renew(page)) == page:
            continue
        if check:
            stale = True
            click.echo(f"{path.name}: a table is stale: nox -s gen", err=True)
        else:
            path.write_text(renewed, encoding="utf-8")
    if stale:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
