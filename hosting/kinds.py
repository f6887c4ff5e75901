"""Kinds of settings: the values that one may have, and how they are read and checked."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Final, Generic, TypeVar

import click

from hosting.addresses import can_be_host
from hosting.options import TEXT as _TEXT
from hosting.options import Finite, PortOrOff, Words
from hosting.rate_limits import check_rate
from hosting.text import check_setting

T = TypeVar("T")


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
