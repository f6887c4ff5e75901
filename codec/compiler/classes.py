"""Turns the dataclasses that betterproto's compiler writes into plain messages (`codec.objects`).

Each class gets another base and a constructor; all else stays. Parameters have the names and the
order of the fields. All other names in a constructor begin with an underscore.
"""

import ast
from typing import Final

import black
import isort

from codec.objects import held_name

from .schema import Field, Message, Module
from .text import Lines, block, call, indent, quote

_IMPORTS: Final = ["from typing import Final", "from codec import objects as _objects"]
_IMPORT_LAZY: Final = "from codec import lazy as _lazy"
_DECORATOR: Final = "@dataclass(eq=False, repr=False)"
_BASE: Final = "(betterproto.Message):"


def plain_classes(source: str, module: Module) -> str:
    """Returns the source of a module of betterproto's dataclasses, with its classes made plain."""
    messages = {message.name: message for message in module.messages}
    lines = source.splitlines()
    # From the end, so that the line numbers found before stay valid.
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.ClassDef) and node.name in messages:
            lines[node.end_lineno : node.end_lineno] = indent(_body(node, messages[node.name]))
            first = node.lineno - 1
            lines[first] = lines[first].replace(_BASE, "(_objects.Message):")
            decorator = node.decorator_list[0].lineno - 1
            lines[decorator : decorator + 1] = [
                *_lazy(messages[node.name]),
                "@_objects.plain",
                lines[decorator].replace(
                    _DECORATOR, "@dataclass(init=False, eq=False, repr=False)"
                ),
            ]
    imports = lines.index("import betterproto")
    lines[imports:imports] = [*_IMPORTS, *[_IMPORT_LAZY] * any(map(_lazy, module.messages))]
    source = black.format_str("\n".join(lines) + "\n", mode=black.Mode(line_length=100))
    return isort.code(source, profile="black", line_length=100, known_first_party=["codec"])


def _lazy(message: Message) -> Lines:
    """Returns the decorator of a class with lazy fields."""
    names = ", ".join(quote(field.name) for field in message.fields if field.lazy)
    return [f"@_lazy.lazy({names})"] if names else []


def _body(node: ast.ClassDef, message: Message) -> Lines:
    fields = {field.name: field for field in message.fields}
    types = {
        each.target.id: ast.unparse(each.annotation).replace("'", "")
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    # A field may be called self.
    this = "_self" if "self" in fields else "self"
    members = [field for field in message.fields if field.oneof]
    body = [_store(this, f, types[f.name]) for f in message.fields if not f.oneof]
    body += [line for oneof in message.oneofs for line in _oneof(this, oneof, members, types)]
    if message.oneofs:
        chosen = ", ".join(f"{quote(oneof)}: _{oneof}_name" for oneof in message.oneofs)
        body.append(f"{this}._group_current = {{{chosen}}}")
    body += _post_init(this, node)
    parameters = [this, *(_parameter(fields[name], text) for name, text in types.items())]
    *head, end = call("def __init__", parameters)
    return ["", *head, *block(f"{end} -> None:", body or ["pass"])]


def _post_init(this: str, node: ast.ClassDef) -> Lines:
    """Returns the call of the method by which betterproto's classes warn of deprecated fields."""
    methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    return [f"{this}.__post_init__()"] if "__post_init__" in methods else []


def _parameter(field: Field, annotation: str) -> str:
    if field.shape == "optional":
        return f'{field.name}: "{annotation}" = None'
    if field.shape != "plain":
        return f'{field.name}: "{annotation} | None" = None'
    if field.kind.is_enum:
        return f"{field.name}: {annotation} = {annotation}.try_value(0)"
    return f"{field.name}: {annotation} = {field.kind.zero}"


def _store(this: str, field: Field, annotation: str) -> str:
    if field.shape != "message":
        return f"{this}.{field.name} = {_value(field)}"
    held = f"{annotation} | bytes | None" if field.lazy else f"{annotation} | None"
    return f'{this}.{held_name(field.name)}: "{held}" = {field.name}'


def _value(field: Field) -> str:
    match field.shape:
        case "list":
            return f"[*{field.name}] if {field.name} is not None else []"
        case "map":
            return f"{{**{field.name}}} if {field.name} is not None else {{}}"
        case "time":
            return f"{field.name} if {field.name} is not None else _objects.{field.kind.unset}"
        case _:
            return field.name


def _oneof(this: str, oneof: str, members: list[Field], types: dict[str, str]) -> Lines:
    name, value = f"_{oneof}_name", f"_{oneof}"
    own = [field.name for field in members if field.oneof == oneof]
    union = " | ".join(dict.fromkeys(types[each] for each in own))
    out = [f"{value} = {name} = None"]
    for each in own:
        chosen = f"_objects.only_one({name}, {quote(each)})"
        out += block(f"if {each} is not None:", [f"{name} = {chosen}", f"{value} = {each}"])
    return [*out, f"{this}.{oneof}: Final[{union} | None] = {value}"]
