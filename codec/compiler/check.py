"""Generates the functions that check encodings: of messages that lazy fields may hold.

A generated function goes over the bytes as the decoder does, but makes no objects. It accepts no
more than that, and not what has to be merged: a message or a time, other than in a list, may occur
once only. Nothing that was encoded as a whole has it twice.
"""

from .decode import depth_check, entry_function, may_be_sized, read_stop
from .schema import Field, Message, Module
from .text import Lines, block, chain, quote


def checked(module: Module) -> list[Message]:
    """Returns the messages of a module that a lazy field may hold, at any depth."""
    by_name = {message.name: message for message in module.messages}
    names = [field.kind.python for m in module.messages for field in m.fields if field.lazy]
    found: set[str] = set()
    while names:
        name = names.pop()
        if name in by_name and name not in found:
            found.add(name)
            names += [field.kind.python for field in by_name[name].fields]
    return [message for message in module.messages if message.name in found]


def checker(message: Message) -> Lines:
    """Returns the source of `check_<message>`."""
    sized = [(f"tag == {f.packed_tag}", c) for f in message.fields if (c := _check(f, message))]
    merged = any(map(_would_be_merged, message.fields))
    varint = ["pos = pos + 1 if data[pos] < 128 else read_varint(data, pos)[1]"]
    branches = [
        ("tag & 7 == 2", [*read_stop(), *chain(sized, []), "pos = stop"]),
        ("tag & 7 == 0", varint),
    ]
    body = [
        "tag = data[pos]",
        "pos += 1",
        *block("if tag > 127:", ["tag, pos = read_tag(data, pos - 1)"]),
        *block("if tag < 8:", ["check_number(tag)"]),
        *chain(branches, ["pos = skip(data, pos, end, tag, depth)"]),
    ]
    return block(
        f"def check_{message.snake}(data: bytes, pos: int, end: int, depth: int) -> None:",
        [
            *depth_check(message),
            *["seen = 0"] * merged,
            *block("while pos < end:", body),
            *block("if pos != end:", ["raise truncated()"]),
        ],
    )


def _would_be_merged(field: Field) -> bool:
    return bool(field.kind.reader) and field.shape not in ("list", "map")


def _check(field: Field, message: Message) -> Lines:
    """Returns the statement that checks the bytes from `pos` to `stop`, if there is one."""
    kind = field.kind
    if not may_be_sized(field):
        return []
    if field.shape == "map":
        entry = entry_function(message, field)
        return [f"{entry}(data, [(pos, stop)], depth - 1, {{}})"]
    if kind.code:
        return [f"unpack_fixed({quote(kind.code)}, data[pos:stop])"]
    if kind.is_packable:
        return ["unpack_varints(data[pos:stop])"]
    if kind.reader:
        name = kind.reader.removeprefix("decode_")
        check = kind.read if kind.unset else f"check_{name}(data, pos, stop, depth - 1)"
        once = [f"seen = only_once({field.number}, seen)"] if _would_be_merged(field) else []
        return [*once, check]
    return ["data[pos:stop].decode()"] if kind.python == "str" else []
