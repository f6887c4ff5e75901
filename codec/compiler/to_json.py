"""Writes the functions that turn dataclasses into JSON.

A generated function makes what orjson writes as a JSON object. A field that always has a value is
written even where that is its default.
"""

from itertools import groupby

from .decode import depth_check
from .encode import selected_members, selection
from .schema import Field, Message
from .text import Lines, block, chain, quote


def to_json(message: Message) -> Lines:
    """Returns the source of `<message>_to_json`."""
    runs = groupby(message.fields, key=lambda field: field.oneof)
    return block(
        f"def {message.snake}_to_json(message: {message.name}, depth: int) -> dict[str, Any]:",
        [
            *depth_check(message),
            "fields = fields_of(message)",
            "out: dict[str, Any] = {}",
            *selected_members(message),
            *(line for oneof, run in runs for line in _run(oneof, list(run))),
            "return out",
        ],
    )


def _run(oneof: str, run: list[Field]) -> Lines:
    if not oneof:
        return [line for field in run for line in _field(field)]
    return chain([(selection(field), [_put(field, field.kind.format)]) for field in run], [])


def _put(field: Field, value: str) -> str:
    return f"out[{quote(field.proto)}] = {value}"


def _field(field: Field) -> Lines:
    get = f"fields[{quote(field.name)}]"
    if field.shape in ("list", "map"):
        empty = "[]" if field.shape == "list" else "{}"
        values = f"{empty} if values is PLACEHOLDER else {_all(field)}"
        return [f"values = {get}", _put(field, values)]
    if field.shape == "plain":
        return [f"value = {get}", _put(field, _with_default(field))]
    present = "value is not None and value is not PLACEHOLDER"
    if field.shape == "message" and field.is_message:
        present += " and is_present(value)"
    return [f"value = {get}", *block(f"if {present}:", [_put(field, field.kind.format)])]


def _with_default(field: Field) -> str:
    if field.kind.format == "value":
        return f"{field.kind.zero} if value is PLACEHOLDER else value"
    return f"{_default(field)} if value is PLACEHOLDER else {field.kind.format}"


def _default(field: Field) -> str:
    if field.kind.python == "int":
        return '"0"'
    if field.kind.python == "bytes":
        return '""'
    return (
        field.kind.zero if field.kind.python == "float" else field.kind.format.replace("value", "0")
    )


def _all(field: Field) -> str:
    if field.shape == "map":
        key, item = field.key_and_value
        name = key.kind.format_key.replace("value", "key")
        return f"{{{name}: {item.kind.format} for key, value in values.items()}}"
    return (
        "values" if field.kind.format == "value" else f"[{field.kind.format} for value in values]"
    )
