"""Writes the functions that construct dataclasses.

Their parameters have the fields' own names, and the schema's order. What else they use begins with
an underscore or is not in lower case, which no field's name is.
"""

from .decode import fields_dict
from .schema import Field, Message, local_name
from .text import Lines, assign, block, call, quote


def maker(message: Message) -> Lines:
    """Returns the source of `make_<message>`."""
    *head, end = call(f"def make_{message.snake}", map(_parameter, message.fields))
    fields = fields_dict(message, _value, member=_variable)
    body = [
        f'"""Returns a {message.name}, much faster than its constructor does."""',
        *(line for oneof in message.oneofs for line in _choice(oneof, message)),
        f"_message = _new({message.name})",
        *assign("_fields", fields),
        "_set_fields(_message, _fields)",
        "return _message",
    ]
    return [*head, *block(f"{end} -> {message.name}:", body)]


def _parameter(field: Field) -> str:
    kind = field.kind
    match field.shape:
        case "list":
            return f"{field.name}: Iterable[{kind.python}] = ()"
        case "map":
            key, value = field.key_and_value
            types = f"{key.kind.python}, {value.kind.python}"
            return f"{field.name}: Mapping[{types}] | None = None"
        case "plain":
            return f"{field.name}: {kind.python} = {kind.zero}"
        case _:
            return f"{field.name}: {kind.python} | None = None"


def _choice(oneof: str, message: Message) -> Lines:
    variable = _variable(oneof)
    out = [f"{variable}: str | None = None"]
    for field in message.fields:
        if field.oneof == oneof:
            chosen = f"{variable} = _only_one({variable}, {quote(field.name)})"
            out += block(f"if {field.name} is not None:", [chosen])
    return out


def _variable(oneof: str) -> str:
    return f"_{local_name(oneof)}"


def _value(field: Field) -> str:
    match field.shape:
        case "list":
            return f"[*{field.name}]"
        case "map":
            return f"{{**({field.name} or {{}})}}"
        case "message" | "oneof":
            return f"PLACEHOLDER if {field.name} is None else {field.name}"
        case _:
            return field.name
