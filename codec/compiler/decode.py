"""Generates the functions that decode bytes to dataclasses.

A generated function reads each occurrence of a message field by field. It dispatches on the tag,
first on its wire type; a field whose wire type differs from the schema's is unknown,
as in google's implementations. Unknown fields are checked and dropped. Sub-messages that may
occur again are only recorded, and decoded at the end, when all parts to be merged are known.
"""

from typing import Final

from codec.objects import held_name

from .kinds import FIXED_32, FIXED_64, SIZED, VARINT
from .schema import Field, Message, local_name
from .text import Lines, block, chain, quote

_NUMBER: Final = "check_number(tag)"


def decoder(message: Message) -> Lines:
    """Returns the source of `decode_<message>`, and of the functions for its map entries."""
    entries = [
        line for f in message.fields if f.shape == "map" for line in _entry_decoder(message, f)
    ]
    function = block(
        f"def decode_{message.snake}(data: bytes, spans: Spans, depth: int) -> {message.name}:",
        [
            *depth_check(message),
            *_variables(message.fields),
            *(f"{local_name(oneof)}_members: Seen = []" for oneof in message.oneofs),
            *_loop(message.fields, message, [_NUMBER]),
            f"message = new({message.name})",
            *(line for field in message.fields for line in _set_field(field)),
            *(line for oneof in message.oneofs for line in _set_member(oneof)),
            "return message",
        ],
    )
    return [*entries, *function]


def depth_check(message: Message) -> Lines:
    """Returns the check of the nesting depth, which only guarded messages need."""
    return block("if depth < 0:", ["raise too_deep()"]) if message.guarded else []


def _entry_decoder(message: Message, field: Field) -> Lines:
    """Returns the source of the function that decodes an entry into a map.

    As in google's Python implementation, an entry with unknown fields is itself an unknown
    field of the message, and is dropped as a whole.
    """
    key, value = field.key_and_value
    name = entry_function(message, field)
    function = block(
        f"def {name}(data: bytes, spans: Spans, depth: int, values: {field.type}) -> None:",
        [
            *block("if depth < 0:", ["raise too_deep()"]),
            *_variables((key, value)),
            "known = True",
            *_loop((key, value), message, [_NUMBER, "known = False"]),
            f"item = {_result(value)}",
            *block("if known:", [f"values[{key.local}] = item"]),
        ],
    )
    return [*function, "", ""]


def entry_function(message: Message, field: Field) -> str:
    """Returns the name of the function that decodes an entry into a map."""
    return f"decode_{message.snake}_{field.name}_entry"


def _variables(fields: tuple[Field, ...]) -> Lines:
    return [line for field in fields if (line := _variable(field))]


def _variable(field: Field) -> str:
    match field.shape:
        case "list":
            return f"{field.local}: {field.type} = []"
        case "map":
            return f"{field.local}: {field.type} = {{}}"
        case "oneof":
            return ""
        case _ if field.kind.reader:
            return f"{field.local}_spans: Spans = []"
        case "optional":
            return f"{field.local}: {field.type} | None = None"
        case _:
            return f"{field.local} = {field.kind.zero}"


def _loop(fields: tuple[Field, ...], message: Message, unknown: Lines) -> Lines:
    body = [
        "tag = data[pos]",
        "pos += 1",
        *block("if tag > 127:", ["tag, pos = read_tag(data, pos - 1)"]),
        *_by_wire_type(fields, message, unknown),
    ]
    spans = [*block("while pos < end:", body), *block("if pos != end:", ["raise truncated()"])]
    return block("for pos, end in spans:", spans)


def _by_wire_type(fields: tuple[Field, ...], message: Message, unknown: Lines) -> Lines:
    sized = [(f.packed_tag, _read_sized(f, message)) for f in fields if may_be_sized(f)]
    branches = (
        [("tag & 7 == 2", [*read_stop(), *_by_tag(sized, unknown), "pos = stop"])] if sized else []
    )
    varints = [(f.tag, _store(f, f.kind.read)) for f in fields if f.kind.wire == VARINT]
    if varints:
        branches.append(("tag & 7 == 0", [*_read_value(), *_by_tag(varints, unknown)]))
    for wire, size in ((FIXED_64, 8), (FIXED_32, 4)):
        fixed = [(f.tag, _store(f, f.kind.read)) for f in fields if f.kind.wire == wire]
        if fixed:
            stop = [f"stop = pos + {size}", *_stop_check()]
            body = [*stop, *_by_tag(fixed, unknown), "pos = stop"]
            branches.append((f"tag & 7 == {wire}", body))
    return chain(branches, ["pos = skip(data, pos, end, tag, depth)", *unknown])


def may_be_sized(field: Field) -> bool:
    """Whether the field may occur with a length before it."""
    return field.kind.wire == SIZED or field.shape == "list"


def read_stop() -> Lines:
    """Returns the statements that read a length, and set `stop` to where its value ends."""
    return [
        "size = data[pos]",
        "pos += 1",
        *block("if size > 127:", ["size, pos = read_size(data, pos - 1)"]),
        "stop = pos + size",
        *_stop_check(),
    ]


def _stop_check() -> Lines:
    return block("if stop > end:", ["raise truncated()"])


def _read_value() -> Lines:
    more = block("if value > 127:", ["value, pos = read_varint(data, pos - 1)"])
    return ["value = data[pos]", "pos += 1", *more]


def _by_tag(branches: list[tuple[int, Lines]], unknown: Lines) -> Lines:
    return chain([(f"tag == {tag}", body) for tag, body in branches], unknown)


def _read_sized(field: Field, message: Message) -> Lines:
    kind = field.kind
    if field.shape == "map":
        arguments = f"data, [(pos, stop)], depth - 1, {field.local}"
        return [f"{entry_function(message, field)}({arguments})"]
    if kind.is_packable:
        return [f"{field.local}.extend({_unpack(field)})"]
    if kind.reader and field.shape == "oneof":
        members = f"{local_name(field.oneof)}_members"
        return [f"{members}.append(({quote(field.name)}, {kind.reader}, (pos, stop)))"]
    if kind.reader and field.shape != "list":
        return [f"{field.local}_spans.append((pos, stop))"]
    return _store(field, kind.read)


def _unpack(field: Field) -> str:
    raw = "data[pos:stop]"
    if field.kind.code:
        return f"unpack_fixed({quote(field.kind.code)}, {raw})"
    if field.kind.read == "value":
        return f"unpack_varints({raw})"
    return f"{field.kind.read} for value in unpack_varints({raw})"


def _store(field: Field, value: str) -> Lines:
    match field.shape:
        case "list":
            return [f"{field.local}.append({value})"]
        case "oneof":
            members = f"{local_name(field.oneof)}_members"
            return [f"{members}.append(({quote(field.name)}, None, {value}))"]
        case _:
            return [f"{field.local} = {value}"]


def _result(field: Field) -> str:
    if not field.kind.reader or field.shape in ("list", "map"):
        return field.local
    spans = f"{field.local}_spans"
    read = field.kind.read_spans(spans)
    if field.shape == "plain":
        return read
    return f"{read} if {spans} else {field.kind.unset if field.shape == 'time' else None}"


def _set_field(field: Field) -> Lines:
    if field.shape == "oneof":
        return []
    return [set_attribute(field, _result(field))]


def set_attribute(field: Field, value: str) -> str:
    """Returns the statement that sets an attribute of a new message."""
    name = held_name(field.name) if field.shape == "message" else field.name
    return f"message.{name} = {value}"


def _set_member(oneof: str) -> Lines:
    members = f"{local_name(oneof)}_members"
    call = f"set_member(message, {quote(oneof)}, data, {members}, depth - 1)"
    return block(f"if {members}:", [call])
