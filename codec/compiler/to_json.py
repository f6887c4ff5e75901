"""Generates the functions that convert dataclasses to JSON.

A generated function returns a dict that orjson serializes. A field without presence is
written even if it has its default.
"""

from itertools import groupby
from typing import Final

from .decode import depth_check
from .encode import declarations, get, presence, selected_members, selection
from .schema import Field, Message
from .text import Lines, block, chain, quote

# The property says the same, but is a call, and most messages are set.
_WRITTEN: Final = "not value._is_unset or value._serialized_on_wire"


def to_json(message: Message) -> Lines:
    """Returns the source of `<message>_to_json`."""
    runs = groupby(message.fields, key=lambda field: field.oneof)
    return block(
        f"def {message.snake}_to_json(message: {message.name}, depth: int) -> dict[str, Any]:",
        [
            *depth_check(message),
            *declarations(message),
            "out: dict[str, Any] = {}",
            *selected_members(message),
            *(line for oneof, run in runs for line in _run(oneof, list(run))),
            "return out",
        ],
    )


def _run(oneof: str, run: list[Field]) -> Lines:
    if not oneof:
        return [line for field in run for line in _field(field)]
    branches = [(selection(field), [_put(field, field.kind.format)]) for field in run]
    return [get(run[0]), *chain(branches, [])]


def _put(field: Field, value: str) -> str:
    return f"out[{quote(field.proto)}] = {value}"


def _field(field: Field) -> Lines:
    if field.shape in ("list", "map"):
        return [f"values = message.{field.name}", _put(field, _all(field))]
    put = [_put(field, field.kind.format)]
    if field.shape == "plain":
        return [get(field), *put]
    present = presence(field)
    if field.lazy:
        read = block("if type(value) is bytes:", [f"value = message.{field.name}"])
        put = [*read, *block(f"if {_WRITTEN}:", put)]
    elif field.shape == "message":
        present += f" and ({_WRITTEN})"
    return [get(field), *block(f"if {present}:", put)]


def _all(field: Field) -> str:
    if field.shape == "map":
        key, item = field.key_and_value
        name = key.kind.format_key.replace("value", "key")
        return f"{{{name}: {item.kind.format} for key, value in values.items()}}"
    return (
        "values" if field.kind.format == "value" else f"[{field.kind.format} for value in values]"
    )
