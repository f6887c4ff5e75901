"""Settings, each declared once: as a field of a frozen dataclass.

For example::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config(Settings):
        port: int = setting(8080, PORT, "The TCP port. 0 takes a free one.")

From the declaration come the check when the object is made, the command-line option and its
line in ``--help``, the environment variable, the key in a settings file (see
`hosting.settings_file`), and the row in ``docs/options.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hosting.kinds import FLAG, HOST, PORT_OR_OFF, Kind
from hosting.text import brief

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Part = TypeVar("Part", bound="DataclassInstance")

OPERATION: Final = "Metrics and logs"
"""The heading of settings for operators, some of which all processes have."""

_SETTING: Final = "setting"
_PART: Final = "part"


def variable_of(prefix: str, name: str) -> str:
    """The environment variable of an option: ``CHAT_PORT`` for ``chat`` and ``port``."""
    return f"{prefix}_{name}".replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration of one setting.

    Attributes:
        name: the option without its hyphens in front, and the key in a settings file.
        kind: its values.
        default: the value of a command that is given none.
        text: its documentation in Markdown; ``--help`` shows the first sentence.
        group: a heading for it; empty for that of the setting before.
    """

    name: str
    kind: Kind[Any]
    default: Any
    text: str
    group: str

    @property
    def parameter(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")

    def variable(self, prefix: str) -> str:
        """Its environment variable, such as ``CHAT_PORT`` for the prefix ``chat``."""
        return variable_of(prefix, self.name)

    @property
    def shown_default(self) -> Any:
        """The default as somebody would write it."""
        is_list = isinstance(self.default, tuple | frozenset)
        return ",".join(sorted(self.default)) if is_list else self.default


def setting(
    default: T,
    kind: Kind[T],
    text: str,
    *,
    name: str = "",
    group: str = "",
    command_default: T | None = None,
    secret: bool = False,
) -> T:
    """Declares a field of a dataclass as a setting; see `Setting`.

    Args:
        default: the value if none is given.
        kind: its values.
        text: its documentation.
        name: the option, if it is not the field's name.
        group: a heading, for this one and those that follow.
        command_default: the default of the command, if it is another one.
        secret: whether it may hold a secret, and is left out where settings are printed.
    """
    used = default if command_default is None else command_default
    declared = Setting(name, kind, used, text, group)
    return field(default=default, repr=not secret, metadata={_SETTING: declared})


def metrics_host() -> str:
    """Declares the address of the port for metrics; see `hosting.telemetry.endpoint`."""
    return setting(
        "127.0.0.1",
        HOST,
        "The address of the port for metrics and status page. It requires no authentication: leave "
        "it on loopback, or let only your Prometheus reach it. See [metrics](metrics.md).",
        group=OPERATION,
    )


def metrics_port(command_default: int) -> int | None:
    """Declares that port; there is none unless it is given, but for the command."""
    return setting(
        None,
        PORT_OR_OFF,
        "The TCP port of metrics and status page; `off` disables it. 0 selects a free one, which "
        "the log shows. A second process of this kind on the same machine needs another port.",
        command_default=command_default,
    )


def part(settings: type[Part]) -> Part:
    """Declares a field that is a dataclass with settings of its own."""
    return field(default_factory=settings, metadata={_PART: settings})


def optional_part(settings: type[Part]) -> Part | None:
    """Declares such a field that is `None` while all its settings have their defaults."""
    return field(default=None, metadata={_PART: settings})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Base of a dataclass with settings, which are checked when an object is made."""

    def __post_init__(self) -> None:
        """Checks each setting.

        Raises:
            ValueError: one is out of bounds; the text begins with its name.
        """
        for name, each in _declared(type(self)):
            if isinstance(each, Setting):
                each.kind.check(each.name, getattr(self, name))


def _declared(settings: type[DataclassInstance]) -> Iterator[tuple[str, Setting | type[Any]]]:
    for each in fields(settings):
        if found := each.metadata.get(_SETTING):
            yield each.name, found if found.name else replace(found, name=_hyphened(each.name))
        elif found := each.metadata.get(_PART):
            yield each.name, found


def _hyphened(name: str) -> str:
    return name.replace("_", "-")


def settings_of(*types: type[DataclassInstance]) -> list[Setting]:
    """All settings of some dataclasses, those of parts included, with groups held together."""
    found: list[Setting] = []
    for each in (each for settings in types for each in _flat(settings)):
        found.append(each if each.group or not found else replace(each, group=found[-1].group))
    groups = list(dict.fromkeys(each.group for each in found))
    return sorted(found, key=lambda each: groups.index(each.group))


def _flat(settings: type[DataclassInstance]) -> Iterator[Setting]:
    for _, each in _declared(settings):
        if isinstance(each, Setting):
            yield each
        else:
            yield from _flat(each)


def build(settings: type[Part], values: Mapping[str, Any]) -> Part:
    """Makes an object of settings.

    Args:
        settings: its class.
        values: each of its settings, by its name in Python.

    Raises:
        ValueError: one is out of bounds, or they do not go together; the text names it.
    """
    optional = {each.name for each in fields(settings) if each.default is None}
    given: dict[str, Any] = {}
    for name, each in _declared(settings):
        if isinstance(each, Setting):
            given[name] = values[each.parameter]
        elif name not in optional or _is_given(each, values):
            given[name] = build(each, values)
    return settings(**given)


def _is_given(settings: type[DataclassInstance], values: Mapping[str, Any]) -> bool:
    return any(values[each.parameter] != each.default for each in _flat(settings))


# Options.


class GroupedOption(click.Option):
    """An option that knows its heading in ``--help``."""

    def __init__(self, names: Sequence[str], *, group: str, **more: Any) -> None:
        more.setdefault("show_default", more.get("default") not in ("", None))
        super().__init__(names, show_envvar=True, **more)
        self.group = group


class SettingsCommand(click.Command):
    """A command whose ``--help`` shows options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            if isinstance(each, click.Option) and (record := each.get_help_record(ctx)):
                groups.setdefault(getattr(each, "group", "") or "Options", []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


def option_of(each: Setting, prefix: str, **more: Any) -> click.Option:
    """The option of a setting.

    Args:
        each: the setting.
        prefix: the beginning of its environment variable.
        more: what else click is told of it.
    """
    return GroupedOption(
        [f"--{each.name}"],
        group=each.group,
        default=each.shown_default,
        type=each.kind.option,
        envvar=each.variable(prefix),
        help=brief(each.text, ". "),
        is_flag=each.kind is FLAG,
        **more,
    )


def advice(prefix: str, name: str) -> str:
    """The ways to change a setting, for an error; `hosting.run_both` included.

    Args:
        prefix: the beginning of environment variables, in lower case.
        name: the setting.
    """
    in_pair = f"--{prefix}-{name}"
    return f"to change it: --{name} or {variable_of(prefix, name)}, with nox -s serve -- {in_pair}"
