"""Command-line options, each with an environment variable that ``--help`` shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from hosting.logs import FORMATS, LEVELS
from hosting.text import is_text

_NO_TEXT: Final = "It must be Unicode text, in UTF-8."

Function = TypeVar("Function", bound=Callable[..., Any])


class Options:
    """Makes the options of one command.

    Args:
        prefix: what its environment variables begin with, such as ``CHAT``.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def text(self, name: str, default: str, text: str) -> Callable[[Function], Function]:
        """An option that takes any text; also the name of a file."""
        return self._option(name, default, TEXT, text)

    def port(self, default: int) -> Callable[[Function], Function]:
        """The ``--port`` option."""
        return self._option(
            "port", default, click.IntRange(0, 65535), "The TCP port; 0 takes a free one."
        )

    def count(self, name: str, default: int, text: str) -> Callable[[Function], Function]:
        """An option that takes a whole number, not negative."""
        return self._option(name, default, click.IntRange(min=0), text)

    def seconds(self, name: str, default: float, text: str) -> Callable[[Function], Function]:
        """An option that takes a time in seconds, not negative."""
        return self._option(name, default, _Finite(min=0), text)

    def rate(self, name: str, default: float, text: str) -> Callable[[Function], Function]:
        """An option that takes how often a second something may be done; 0 for no limit."""
        return self._option(name, default, _Finite(min=0), text)

    def words(self, name: str, text: str) -> Callable[[Function], Function]:
        """An option that takes a list by commas; empty unless it is given."""
        return self._option(name, "", _Words(), text)

    def flag(self, name: str, text: str) -> Callable[[Function], Function]:
        """An option that is on or off; off unless it is given."""
        return self._option(name, False, click.BOOL, text, is_flag=True)

    def metrics_port(self, default: int) -> Callable[[Function], Function]:
        """The ``--metrics-port`` option."""
        text = "The TCP port of metrics and status page; 0 takes a free one, 'off' has none."
        return self._option("metrics-port", default, _PortOrOff(), text)

    def log_level(self) -> Callable[[Function], Function]:
        """The ``--log-level`` option."""
        return self._option(
            "log-level", "info", click.Choice(LEVELS), "The least severe events to log."
        )

    def log_format(self) -> Callable[[Function], Function]:
        """The ``--log-format`` option."""
        return self._option(
            "log-format", "readable", click.Choice(FORMATS), "How an event is written."
        )

    def advice(self, name: str) -> str:
        """Says where another value of an option can be given, `hosting.run_both` included.

        Args:
            name: the option without its hyphens, such as ``port``.
        """
        in_pair = f"--{self._prefix.lower()}-{name}"
        return f"to change it: --{name} or {self._variable(name)}, with nox -s serve -- {in_pair}"

    def _variable(self, name: str) -> str:
        return f"{self._prefix}_{name.replace('-', '_').upper()}"

    def _option(
        self, name: str, default: Any, kind: click.ParamType[Any], text: str, **more: Any
    ) -> Callable[[Function], Function]:
        return click.option(
            f"--{name}",
            default=default,
            type=kind,
            envvar=self._variable(name),
            show_envvar=True,
            show_default=True,
            help=text,
            **more,
        )


class _PortOrOff(click.ParamType[int | None]):
    name = "port|off"
    _port = click.IntRange(0, 65535)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        return None if value == "off" else self._port.convert(value, param, ctx)


class _Finite(click.FloatRange):
    """Click takes "nan" and "inf" for numbers; nothing can wait for so long."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class _Text(click.ParamType[str]):
    """A text; bytes that are not UTF-8 are none."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not is_text(text):
            self.fail(_NO_TEXT, param, ctx)
        return text


class TextPath(click.Path):
    """The name of a file, which is a text: it is told in logs, and by name to SQLite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        if not is_text(str(value)):
            self.fail(_NO_TEXT, param, ctx)
        return super().convert(value, param, ctx)


class _Words(click.ParamType[tuple[str, ...]]):
    name = "list"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        if isinstance(value, str):
            text = TEXT.convert(value, param, ctx)
            return tuple(filter(None, map(str.strip, text.split(","))))
        return tuple(value)


TEXT: Final = _Text()
