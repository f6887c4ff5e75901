"""Generates the functions that encode dataclasses to bytes.

A generated function writes fields in the order of their numbers, then unknown fields.
The tag of a field, with a short length or a small number after it, comes from a table that is
built when the module is imported.
"""

from itertools import groupby

from codec.objects import held_name
from codec.writing import varint

from .decode import depth_check
from .kinds import FIXED_32, FIXED_64, SIZED, VARINT
from .schema import Field, Message, local_name
from .text import Lines, block, chain, quote


def encoder(message: Message) -> Lines:
    """Returns the source of `encode_<message>`."""
    runs = groupby(message.fields, key=lambda field: field.oneof)
    return block(
        f"def encode_{message.snake}(message: {message.name}, depth: int) -> bytes:",
        [
            *depth_check(message),
            *declarations(message),
            "out = bytearray()",
            *selected_members(message),
            *(line for oneof, run in runs for line in _run(oneof, list(run))),
            "out += message._unknown_fields",
            "return bytes(out)",
        ],
    )


def selected_members(message: Message) -> Lines:
    """Returns the statements that assign the name of each oneof's set member to a variable."""
    return [f"{local_name(o)} = message._group_current[{quote(o)}]" for o in message.oneofs]


def declarations(message: Message) -> Lines:
    """Returns the declarations of the variables that hold each field's value in turn."""
    many = ["list" if field.shape in ("list", "map") else "one" for field in message.fields]
    return [*["value: Any"] * ("one" in many), *["values: Any"] * ("list" in many)]


def selection(field: Field) -> str:
    """Returns the condition under which a member of a oneof is set."""
    return f"{local_name(field.oneof)} == {quote(field.name)}"


def get(field: Field) -> str:
    """Returns the statement that assigns a field's value to `value`, or `None` if it is unset."""
    if field.shape == "message":  # reading the attribute would create a message
        return f"value = message.{held_name(field.name)}"
    return f"value = message.{field.oneof or field.name}"


def tags(message: Message) -> set[int]:
    """Returns the tags that need a table in `encode_<message>`."""
    entries = [f for field in message.fields for f in field.entry or ()]
    return {_table_tag(f) for f in (*message.fields, *entries) if _needs_table(f)}


def table(tag: int) -> str:
    """Returns the name of the table of a tag."""
    return f"_TAG_{tag}"


def _table_tag(field: Field) -> int:
    return field.packed_tag if field.packed else field.tag


def _needs_table(field: Field) -> bool:
    return field.packed or field.kind.wire in (VARINT, SIZED)


def _run(oneof: str, run: list[Field]) -> Lines:
    if not oneof:
        return [line for field in run for line in _field(field)]
    return [get(run[0]), *chain([(selection(field), write(field)) for field in run], [])]


def _field(field: Field) -> Lines:
    if field.shape in ("list", "map"):
        return [
            f"values = message.{field.name}",
            *block("if values:", _write_all(field)),
        ]
    return [get(field), *block(f"if {presence(field)}:", _write_present(field))]


def presence(field: Field) -> str:
    """Returns the condition under which a field whose value is `value` is written."""
    match field.shape:
        case "time":
            return f"value is not None and value is not {field.kind.unset}"
        case "plain":
            return "is_nonzero(value)" if field.kind.python == "float" else "value"
        case _:
            return "value is not None"


def _write_present(field: Field) -> Lines:
    if field.shape != "message":
        return write(field)
    if field.lazy:
        raw = f"value if type(value) is bytes else {field.kind.write}"
        present = "if raw or value is raw or value._serialized_on_wire:"
    else:
        raw, present = field.kind.write, "if raw or value._serialized_on_wire:"
    return [f"raw = {raw}", *block(present, _write_raw(field.tag, "out"))]


def _write_all(field: Field) -> Lines:
    if field.shape == "map":
        key, item = field.key_and_value
        entry = ["entry = bytearray()", "value = key", *write(key, "entry")]
        entry += ["value = item", *write(item, "entry"), "raw = bytes(entry)"]
        return block("for key, item in values.items():", [*entry, *_write_raw(field.tag, "out")])
    if not field.packed:
        return block("for value in values:", write(field))
    if field.kind.wire == VARINT:
        raw = f"pack_varints([{field.kind.write} for value in values])"
    else:
        pack = field.kind.write.removesuffix("(value)")
        raw = f"pack_fixed({quote(field.kind.code)}, values, {pack})"
    return [f"raw = {raw}", *_write_raw(field.packed_tag, "out")]


def write(field: Field, out: str = "out") -> Lines:
    """Returns the statements that append `value`, with its tag, to the variable `out`."""
    kind = field.kind
    head = table(field.tag)
    if kind.wire == SIZED:
        return [f"raw = {kind.write}", *_write_raw(field.tag, out)]
    if kind.wire in (FIXED_32, FIXED_64):
        return [f"{out} += {varint(field.tag)!r} + {kind.write}"]
    if kind.python == "bool":
        return [f"{out} += {head}[{kind.write}]"]
    long = f"tagged({field.tag}, {kind.write})"
    if kind.is_small:
        return [f"{out} += {head}[value] if 0 <= value < 128 else {long}"]
    return [f"{out} += {long}"]


def _write_raw(tag: int, out: str) -> Lines:
    return [
        "size = len(raw)",
        f"{out} += {table(tag)}[size] if size < 128 else tagged({tag}, size)",
        f"{out} += raw",
    ]
