"""Generates the functions that convert JSON to dataclasses.

A generated function takes an object parsed by orjson and iterates over its members. If a member
is invalid, the variable `key` has its name, from which the error gets its path.
"""

from .decode import depth_check, set_attribute
from .schema import Field, Message, local_name
from .text import Lines, block, chain, quote


def from_json(message: Message) -> Lines:
    """Returns the source of `<message>_from_json`, and of its table of names."""
    function = block(
        f"def {message.snake}_from_json(members: Any, depth: int) -> {message.name}:",
        [
            *block("if type(members) is not dict:", ['raise expected("an object")']),
            *depth_check(message),
            *(line for field in message.fields if (line := _variable(field))),
            *(f"{local_name(oneof)}_members: dict[str, Any] = {{}}" for oneof in message.oneofs),
            'key = ""',
            *block("try:", block("for key, item in members.items():", _members(message))),
            *block("except DecodeError as error:", [f"raise {_located(message)} from None"]),
            *(line for oneof in message.oneofs for line in _check_member(oneof)),
            f"message = new({message.name})",
            *(line for field in message.fields for line in _set_field(field)),
            *(line for oneof in message.oneofs for line in _set_member(oneof)),
            "return message",
        ],
    )
    return [*_keys(message), "", "", *function]


def _located(message: Message) -> str:
    return f"error.within({_keys_name(message)}.get(key) or quoted(key))"


def _keys(message: Message) -> Lines:
    spellings = {name: f.proto for f in message.fields for name in (f.proto, f.camel)}
    return [
        f"{_keys_name(message)}: dict[str, str] = {{",
        *(f"    {quote(name)}: {quote(proto)}," for name, proto in spellings.items()),
        "}",
    ]


def _keys_name(message: Message) -> str:
    return f"_{message.snake.upper()}_KEYS"


def _variable(field: Field) -> str:
    match field.shape:
        case "list":
            return f"{field.local}: {field.type} = []"
        case "map":
            return f"{field.local}: {field.type} = {{}}"
        case "oneof":
            return ""
        case "time":
            return f"{field.local} = {field.kind.unset}"
        case "optional" | "message":
            return f"{field.local}: {field.type} | None = None"
        case _:
            return f"{field.local} = {field.kind.zero}"


def _members(message: Message) -> Lines:
    null = ("item is None", [f"check_null(members, key, {_keys_name(message)})"])
    known = [(_condition(field), _read(field)) for field in message.fields]
    return chain([null, *known], ['raise DecodeError("", "unknown field")'])


def _condition(field: Field) -> str:
    name = f"key == {quote(field.proto)}"
    if field.camel == field.proto:
        return name
    return f"{name} or (key == {quote(field.camel)} and once(members, {quote(field.proto)}))"


def _read(field: Field) -> Lines:
    if field.shape == "oneof":
        return _assign(field, f"{local_name(field.oneof)}_members[{quote(field.name)}]")
    return _assign(field, field.local)


def _assign(field: Field, target: str) -> Lines:
    if field.shape == "list":
        return [f"{target} = parse_list(item, {_function(field)})"]
    if field.shape == "map":
        key, value = field.key_and_value
        return [f"{target} = parse_map(item, {key.kind.parse_key}, {_function(value)})"]
    if field.kind.python == "str":
        check = block("if type(item) is not str:", ['raise expected("a string")'])
        return [*check, f"{target} = item"]
    return [f"{target} = {field.kind.parse}"]


def _function(field: Field) -> str:
    name = field.kind.parse.removesuffix("(item)")
    return f"lambda item: {name}" if name == field.kind.parse else name


def _set_field(field: Field) -> Lines:
    if field.shape == "oneof":
        return []
    return [set_attribute(field, field.local)]


def _check_member(oneof: str) -> Lines:
    members = f"{local_name(oneof)}_members"
    return block(f"if len({members}) > 1:", [f"raise more_than_one({members})"])


def _set_member(oneof: str) -> Lines:
    members = f"{local_name(oneof)}_members"
    chosen = f"choose(message, {quote(oneof)}, *{members}.popitem())"
    return block(f"if {members}:", [chosen])
