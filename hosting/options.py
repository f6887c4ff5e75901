"""Types of command-line options beside those of Click."""

import math
from typing import Any, Final

import click

from hosting.text import is_text

_NO_TEXT: Final = "It must be Unicode text, in UTF-8."


class Finite(click.FloatRange):
    """A finite number; Click accepts "nan" and "inf"."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See click."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class PortOrOff(click.ParamType[int | None]):
    """A TCP port; `None` for "off"."""

    name = "port|off"
    _port = click.IntRange(0, 65535)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """See click."""
        return None if value == "off" else self._port.convert(value, param, ctx)


class Text(click.ParamType[str]):
    """Unicode text; other bytes are refused."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        text = str(value)
        if not is_text(text):
            self.fail(_NO_TEXT, param, ctx)
        return text


class TextPath(click.Path):
    """The name of a file, as Unicode text: it appears in logs, and is passed to SQLite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        if not is_text(str(value)):
            self.fail(_NO_TEXT, param, ctx)
        return super().convert(value, param, ctx)


class Words(click.ParamType[tuple[str, ...]]):
    """A list, with commas between its items."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """See click."""
        if isinstance(value, str):
            text = TEXT.convert(value, param, ctx)
            return tuple(filter(None, map(str.strip, text.split(","))))
        return tuple(value)


TEXT: Final = Text()
