"""Parses and formats single JSON values, for generated code.

Parsers take a value from orjson and return the value of a field, or raise a DecodeError
with an empty path: the caller knows the field's name. Null occurs here only inside lists and
maps, where it is not allowed.

Source: https://protobuf.dev/programming-guides/json/
"""

import math
import re
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from .errors import DecodeError, quoted

K = TypeVar("K")
V = TypeVar("V")

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_LONGEST_INTEGER: Final = 20
_SPECIAL: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT: Final = struct.Struct("<f")
_URL_SAFE: Final = str.maketrans("-_", "+/")


def expected(what: str) -> DecodeError:
    """Returns the error for a value of the wrong type."""
    return DecodeError("", f"expected {what}")


def more_than_one(members: Iterable[str]) -> DecodeError:
    """Returns the error for several members of one oneof."""
    return DecodeError("", f"more than one of {', '.join(members)}")


def once(members: dict[str, Any], name: str) -> bool:
    """Checks that a field given by its camelCase name is not given by its schema name as well.

    Returns:
        True.

    Raises:
        DecodeError: It is given by both.
    """
    if name in members:
        raise DecodeError("", "given twice")
    return True


def check_null(members: dict[str, Any], key: str, keys: Mapping[str, str]) -> None:
    """Checks a member that is null, which leaves its field unset.

    Args:
        members: The object.
        key: The member's name.
        keys: The schema's name of each field, by each of its JSON names.

    Raises:
        DecodeError: The name is unknown, or the field is given by its other name as well.
    """
    if key not in keys:
        raise DecodeError("", "unknown field")
    if keys[key] != key:
        once(members, keys[key])


def parse_list(item: Any, parse: Callable[[Any], V]) -> list[V]:
    """Reads a JSON array.

    Args:
        item: The JSON value.
        parse: Parses one element.

    Raises:
        DecodeError: It is not an array, or an element is invalid; the path begins with its index.
    """
    if type(item) is not list:
        raise expected("an array")
    values: list[V] = []
    try:
        for each in item:
            values.append(parse(each))  # noqa: PERF401 - its length is the index of a fault
    except DecodeError as error:
        raise error.within(f"[{len(values)}]") from None
    return values


def parse_map(item: Any, parse_key: Callable[[str], K], parse: Callable[[Any], V]) -> dict[K, V]:
    """Reads a JSON object as a map.

    Args:
        item: The JSON value.
        parse_key: Parses a key from a member name.
        parse: Parses the value of a member.

    Raises:
        DecodeError: It is not an object, or an entry is invalid; the path begins with its key.
    """
    if type(item) is not dict:
        raise expected("an object")
    values: dict[K, V] = {}
    for name, each in item.items():
        try:
            key = parse_key(name)
            if key in values:  # 1 and 01 are the same key
                raise DecodeError("", "given twice")  # noqa: TRY301 - it gets its path below
            values[key] = parse(each)
        except DecodeError as error:
            raise error.within(f"[{quoted(name)}]") from None
    return values


def parse_string(item: Any) -> str:
    """Reads a string."""
    if type(item) is not str:
        raise expected("a string")
    return item


def parse_bytes(item: Any) -> bytes:
    """Reads base64, in the standard or the URL-safe alphabet, with or without padding."""
    if type(item) is not str:
        raise expected("a string")
    digits = item.translate(_URL_SAFE).rstrip("=")
    try:
        return b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (Base64Error, ValueError):
        raise expected("base64") from None


def format_bytes(value: bytes) -> str:
    """Returns base64 in the standard alphabet, with padding."""
    return b64encode(value).decode()


def parse_bool(item: Any) -> bool:
    """Reads true or false."""
    if item is True or item is False:
        return bool(item)
    raise expected("true or false")


def parse_bool_key(name: str) -> bool:
    """Reads a bool as a map key."""
    if name not in ("true", "false"):
        raise expected("true or false")
    return name == "true"


def parse_int32(item: Any) -> int:
    """Reads an int32, sint32 or sfixed32: an integer, or a string with one."""
    return _bounded(item, -(1 << 31), (1 << 31) - 1)


def parse_int64(item: Any) -> int:
    """Reads an int64, sint64 or sfixed64: an integer, or a string with one."""
    return _bounded(item, -(1 << 63), (1 << 63) - 1)


def parse_uint32(item: Any) -> int:
    """Reads a uint32 or fixed32: an integer, or a string with one."""
    return _bounded(item, 0, (1 << 32) - 1)


def parse_uint64(item: Any) -> int:
    """Reads a uint64 or fixed64: an integer, or a string with one."""
    return _bounded(item, 0, (1 << 64) - 1)


parse_int32_key: Final = parse_int32
parse_int64_key: Final = parse_int64
parse_uint32_key: Final = parse_uint32
parse_uint64_key: Final = parse_uint64


def _bounded(item: Any, low: int, high: int) -> int:
    value: int = item if type(item) is int else _whole(item)
    if low <= value <= high:
        return value
    raise DecodeError("", "out of range")


def _whole(item: Any) -> int:
    """Reads an integer written as a string, or with a fraction or an exponent."""
    if type(item) is str and _NUMBER.fullmatch(item):
        digits = item.lstrip("-").lstrip("0") or "0"
        if len(digits) <= _LONGEST_INTEGER and digits.isdigit():
            return -int(digits) if item[0] == "-" else int(digits)
        item = float(item)
    if type(item) is not float:
        raise expected("an integer")
    # orjson rounds integers of more than 64 bits to floats, some of them into the range.
    if not -(2.0**63) < item < 2.0**64:
        raise DecodeError("", "out of range")
    if not item.is_integer():
        raise expected("an integer")
    return int(item)


def parse_double(item: Any) -> float:
    """Reads a number, a string with one, or one of the strings NaN, Infinity and -Infinity."""
    if type(item) is str:
        if item in _SPECIAL:
            return _SPECIAL[item]
        if _NUMBER.fullmatch(item):
            item = float(item)
    if type(item) is not float and type(item) is not int:
        raise expected("a number")
    if math.isinf(item):
        raise DecodeError("", "out of range")
    return float(item)


def parse_float(item: Any) -> float:
    """Reads a number as `parse_double` does, rounded to 32 bits."""
    value = parse_double(item)
    try:
        rounded: float = _FLOAT.unpack(_FLOAT.pack(value))[0]
    except OverflowError:
        raise DecodeError("", "out of range") from None
    return rounded


def format_double(value: float) -> float | str:
    """Returns a number, or a string for NaN and the infinities."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def format_float(value: float) -> float | str:
    """Returns the shortest number with the same 32 bits, or a string like `format_double`."""
    if not math.isfinite(value):
        return format_double(value)
    bits = _FLOAT.pack(value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if _FLOAT.pack(short) == bits:
            return short
    return float(f"{value:.9g}")
