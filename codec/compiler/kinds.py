"""The kinds of field values: one table, shared by all emitters.

Each kind has pieces of Python source for generated functions, in which `value` or `item`
is the current value, and `data[pos:stop]` its encoding.
"""

from dataclasses import dataclass, replace
from typing import Final

VARINT: Final = 0
FIXED_64: Final = 1
SIZED: Final = 2
FIXED_32: Final = 5


@dataclass(frozen=True)
class Kind:
    """The generated source for one kind of value.

    Attributes:
        wire: The wire type.
        python: The Python type.
        zero: The default of a field without presence; empty for a message.
        read: Decodes the value: a varint from `value`, otherwise from `data`, `pos` and `stop`.
        write: Encodes `value`: a varint as a non-negative number, otherwise as
            bytes.
        parse: Converts JSON's `item` to the value.
        format: Converts `value` to JSON.
        format_key: Converts `value` to a member name, for map keys.
        parse_key: The function that converts a member name back.
        code: The letter of the `struct` module, for a kind of fixed size.
        reader: The function that decodes a sub-message.
        is_small: Whether a number below 128 is encoded as that byte.
        is_enum: Whether it is an enum.
        unset: The constant of an unset field, for times.
    """

    wire: int
    python: str
    zero: str
    read: str
    write: str = "value"
    parse: str = "item"
    format: str = "value"
    format_key: str = "str(value)"
    parse_key: str = ""
    code: str = ""
    reader: str = ""
    is_small: bool = False
    is_enum: bool = False
    unset: str = ""

    @property
    def is_packable(self) -> bool:
        """Whether a list of such values can be packed into one field."""
        return self.wire != SIZED

    def read_spans(self, spans: str) -> str:
        """Returns the expression that decodes a sub-message from all its occurrences."""
        return f"{self.reader}(data, {spans}, depth - 1)"


def _varint(name: str, read: str) -> Kind:
    text = "str(value)" if name.endswith("64") else "value"
    return Kind(
        VARINT,
        "int",
        "0",
        read,
        write=f"{name}(value)",
        parse=f"parse_{_range(name)}(item)",
        format=text,
        parse_key=f"parse_{_range(name)}_key",
        is_small=not name.startswith("s"),
    )


def _range(name: str) -> str:
    """Returns the name of the JSON parser, which depends only on the bits and the sign."""
    bits = name[-2:]
    return f"{'uint' if name in {f'uint{bits}', f'fixed{bits}'} else 'int'}{bits}"


def _fixed(name: str, wire: int, code: str) -> Kind:
    return Kind(
        wire,
        "int",
        "0",
        f"unpack_{name}(data, pos)[0]",
        write=f"pack_{name}(value)",
        parse=f"parse_{_range(name)}(item)",
        format="str(value)" if name.endswith("64") else "value",
        parse_key=f"parse_{_range(name)}_key",
        code=code,
    )


def _floating(name: str, wire: int, code: str) -> Kind:
    return Kind(
        wire,
        "float",
        "0.0",
        f"unpack_{name}(data, pos)[0]",
        write=f"pack_{name}(value)",
        parse=f"parse_{name}(item)",
        format=f"format_{name}(value)",
        code=code,
    )


def _sized(python: str, zero: str, read: str, write: str, parse: str, form: str) -> Kind:
    return Kind(SIZED, python, zero, read, write=write, parse=parse, format=form)


KINDS: Final = {
    "bool": Kind(
        VARINT,
        "bool",
        "False",
        "value != 0",
        write="1 if value else 0",
        parse="parse_bool(item)",
        format_key='"true" if value else "false"',
        parse_key="parse_bool_key",
    ),
    "int32": _varint("int32", "value if value < 0x8000_0000 else signed32(value)"),
    "int64": _varint("int64", "value if value < 0x8000_0000 else signed64(value)"),
    "uint32": _varint("uint32", "value & 0xFFFF_FFFF"),
    "uint64": _varint("uint64", "value"),
    "sint32": _varint("sint32", "unzigzag(value & 0xFFFF_FFFF)"),
    "sint64": _varint("sint64", "unzigzag(value)"),
    "fixed32": _fixed("fixed32", FIXED_32, "I"),
    "sfixed32": _fixed("sfixed32", FIXED_32, "i"),
    "fixed64": _fixed("fixed64", FIXED_64, "Q"),
    "sfixed64": _fixed("sfixed64", FIXED_64, "q"),
    "float": _floating("float", FIXED_32, "f"),
    "double": _floating("double", FIXED_64, "d"),
    "string": replace(
        _sized(
            "str", '""', "data[pos:stop].decode()", "value.encode()", "parse_string(item)", "value"
        ),
        format_key="value",
        parse_key="parse_string",
    ),
    "bytes": _sized(
        "bytes", 'b""', "data[pos:stop]", "value", "parse_bytes(item)", "format_bytes(value)"
    ),
}
"""The scalar kinds, by the schema's names."""


def enum_kind(name: str, table: str) -> Kind:
    """Returns the kind of an enum, given the name of its generated `EnumTable`."""
    return Kind(
        VARINT,
        name,
        f"{table}[0]",
        f"{table}[value]",
        write="int32(value)",
        parse=f"{table}.parse(item)",
        format=f"{table}.format(value)",
        is_small=True,
        is_enum=True,
    )


def message_kind(name: str, snake: str) -> Kind:
    """Returns the kind of a message whose functions are named after `snake`."""
    kind = _sized(
        name,
        "",
        "",
        f"encode_{snake}(value, depth - 1)",
        f"{snake}_from_json(item, depth - 1)",
        f"{snake}_to_json(value, depth - 1)",
    )
    return _submessage(kind, f"decode_{snake}")


def time_kind(name: str, python: str) -> Kind:
    """Returns the kind of Timestamp or Duration, named `timestamp` or `duration`."""
    kind = _sized(
        python, "", "", f"write_{name}(value)", f"parse_{name}(item)", f"format_{name}(value)"
    )
    return replace(_submessage(kind, f"read_{name}"), unset=f"NO_{name.upper()}")


def _submessage(kind: Kind, reader: str) -> Kind:
    kind = replace(kind, reader=reader)
    return replace(kind, read=kind.read_spans("[(pos, stop)]"))
