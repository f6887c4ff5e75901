"""Settings, each declared once: as a field of a frozen dataclass.

For example::

    @dataclass(frozen=True, slots=True)
    class Config(Settings):
        port: int = setting(8080, PORT, "The TCP port. 0 takes a free one.")

From the declaration come the check when the object is made, the command-line option and its
line in ``--help``, the environment variable, the key in a settings file (see
`hosting.settings_file`), and the row in ``docs/options.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import click

from hosting.addresses import can_be_host
from hosting.options import TEXT as _TEXT
from hosting.options import Finite, PortOrOff, Words
from hosting.rate_limits import check_rate
from hosting.text import brief, check_setting

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Part = TypeVar("Part", bound="DataclassInstance")

OPERATION: Final = "Metrics and logs"
"""The heading of settings for operators, some of which all processes have."""

_SETTING: Final = "setting"
_PART: Final = "part"


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """The values that a setting may have.

    Attributes:
        option: reads one from a command line or an environment.
        check: takes the name of the setting and a value; raises a ValueError, whose text
            begins with the name, if the value is out of bounds.
        form: what a settings file must hold, such as "a whole number".
        types: the types of that in Python, as `tomllib` reads it.
        read: makes a value of what a settings file holds; `check` decides about the result.
    """

    option: click.ParamType[Any]
    check: Callable[[str, T], object]
    form: str
    types: tuple[type, ...]
    read: Callable[[Any], Any] = lambda value: value


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
        return f"{prefix}_{self.parameter}".upper()

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
) -> T:
    """Declares a field of a dataclass as a setting; see `Setting`.

    Args:
        default: the value if none is given.
        kind: its values.
        text: its documentation.
        name: the option, if it is not the field's name.
        group: a heading, for this one and those that follow.
        command_default: the default of the command, if it is another one.
    """
    used = default if command_default is None else command_default
    return field(default=default, metadata={_SETTING: Setting(name, kind, used, text, group)})


def part(settings: type[Part]) -> Part:
    """Declares a field that is a dataclass with settings of its own."""
    return field(default_factory=settings, metadata={_PART: settings})


def optional_part(settings: type[Part]) -> Part | None:
    """Declares such a field that is `None` while all its settings have their defaults."""
    return field(default=None, metadata={_PART: settings})


@dataclass(frozen=True, slots=True)
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
    variable = f"{prefix}_{name}".replace("-", "_").upper()
    in_pair = f"--{prefix}-{name}"
    return f"to change it: --{name} or {variable}, with nox -s serve -- {in_pair}"


# Kinds.


def _check_host(name: str, value: str) -> None:
    if not value:
        raise ValueError(f"{name} must not be empty")
    if not can_be_host(value):
        raise ValueError(f"{name} must be an address or a name, not {value!r}")


def _check_file(name: str, value: str) -> None:
    if not value:
        raise ValueError(f"{name} must not be empty")
    check_setting(name, value)


def _check_words(name: str, values: Collection[str]) -> None:
    check_setting(name, *values)


def _check_seconds(name: str, value: float) -> None:
    if not (isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number, not negative")


def _check_metrics_port(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, int) and 0 <= value <= 65535):
        raise ValueError(f"{name} must be from 0 to 65535, or off")


def _accept(_name: str, _value: object) -> None:
    """Any value of the type will do."""


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf


class _NameSet(Words):
    def convert(self, *args: Any) -> Any:
        return frozenset(super().convert(*args))


def whole(least: int = 0, most: int | None = None) -> Kind[int]:
    """Whole numbers from `least` to `most`, both included."""

    def check(name: str, value: int) -> None:
        if value >= least and (most is None or value <= most):
            return
        if most is not None:
            raise ValueError(f"{name} must be from {least} to {most}")
        raise ValueError(f"{name} must {f'be at least {least}' if least else 'not be negative'}")

    return Kind(click.IntRange(least, most), check, "a whole number", (int,))


def duration(most: float = inf) -> Kind[float]:
    """Times in seconds, more than 0."""

    def check(name: str, value: float) -> None:
        if not (isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite number, more than 0")
        if value > most:
            raise ValueError(f"{name} must be at most {most}")

    return Kind(Finite(min=0), check, "a number", (int, float), _float)


def text(check: Callable[[str, str], object] = check_setting) -> Kind[str]:
    """Texts that pass a check."""
    return Kind(_TEXT, check, "a text", (str,))


def words(check: Callable[[str, tuple[str, ...]], object] = _check_words) -> Kind[tuple[str, ...]]:
    """Lists of texts that pass a check."""
    option = Words()
    return Kind(
        option, check, "a list of texts", (str, list), lambda v: option.convert(v, None, None)
    )


def choice(*values: str) -> Kind[str]:
    """One of some words."""

    def check(name: str, value: str) -> None:
        if value not in values:
            raise ValueError(f"{name} must be one of {', '.join(values)}")

    return Kind(click.Choice(values), check, "a text", (str,))


PORT: Final = whole(0, 65535)
SECONDS: Final = Kind(Finite(min=0), _check_seconds, "a number", (int, float), _float)
RATE: Final = Kind(Finite(min=0), check_rate, "a number", (int, float), _float)
TEXT: Final = text()
FILE: Final = text(_check_file)
HOST: Final = text(_check_host)
WORDS: Final = words()
NAME_SET: Final[Kind[frozenset[str]]] = Kind(
    _NameSet(), _check_words, "a list of texts", (str, list), WORDS.read
)
FLAG: Final[Kind[bool]] = Kind(click.BOOL, _accept, "true or false", (bool,))
PORT_OR_OFF: Final[Kind[int | None]] = Kind(
    PortOrOff(),
    _check_metrics_port,
    'a whole number or "off"',
    (int, str),
    lambda value: None if value == "off" else value,
)
