"""Writes the functions that turn dataclasses into JSON.

A generated function makes what orjson writes as a JSON object. A field that always has a value is
written even where that is its default.
"""

from itertools import groupby, takewhile

from .decode import depth_check
from .encode import selected_members, selection
from .schema import Field, Message
from .text import Lines, assign, block, chain, quote


def to_json(message: Message) -> Lines:
    """Returns the source of `<message>_to_json`."""
    # Those in front that are always written are put into the object as it is made.
    first = list(takewhile(_is_always_written, message.fields))
    runs = groupby(message.fields[len(first) :], key=lambda field: field.oneof)
    return block(
        f"def {message.snake}_to_json(message: {message.name}, depth: int) -> dict[str, Any]:",
        [
            *depth_check(message),
            "fields = fields_of(message)",
            *assign("out: dict[str, Any]", _object(first)),
            *selected_members(message),
            *(line for oneof, run in runs for line in _run(oneof, list(run))),
            "return out",
        ],
    )


def _is_always_written(field: Field) -> bool:
    return field.shape == "plain"


def _object(fields: list[Field]) -> Lines:
    if not fields:
        return ["{}"]
    return ["{", *(f"    {quote(field.proto)}: {_with_default(field)}," for field in fields), "}"]


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
        return [_put(field, _with_default(field))]
    present = "value is not None and value is not PLACEHOLDER"
    if field.shape == "message" and field.is_message:
        present += " and is_present(value)"
    return [f"value = {get}", *block(f"if {present}:", [_put(field, field.kind.format)])]


def _with_default(field: Field) -> str:
    default = field.kind.zero if field.kind.format == "value" else _default(field)
    unset = f"(value := fields[{quote(field.name)}]) is PLACEHOLDER"
    return f"{default} if {unset} else {field.kind.format}"


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
