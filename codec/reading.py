"""Decodes the wire format: primitives for generated code.

They take the whole input and a position, and return a value and the position after it. Reading
past the input raises IndexError, which `codec.decode` turns into a DecodeError; the caller
detects reading past the end of a sub-message, since its position is then beyond the end.

Source: https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from .errors import DecodeError
from .objects import choose

Spans = list[tuple[int, int]]
"""The start and end of each occurrence of a sub-message: protobuf merges them into one."""

Decoder = Callable[[bytes, Spans, int], Any]

Seen = list[tuple[str, Decoder | None, Any]]
"""Occurrences of a oneof's members: a name, and a decoder with a span, or a value."""

MAX_DEPTH: Final = 100
"""The maximum nesting depth of messages, as in google's implementations."""

MASK_32: Final = 0xFFFF_FFFF
MASK_64: Final = 0xFFFF_FFFF_FFFF_FFFF
_SIGN_32: Final = 0x8000_0000
_SIGN_64: Final = 0x8000_0000_0000_0000


def truncated() -> DecodeError:
    """Returns the error for truncated input."""
    return DecodeError("", "truncated")


def not_utf8() -> DecodeError:
    """Returns the error for a string that is no text."""
    return DecodeError("", "a string is not valid UTF-8")


def too_deep() -> DecodeError:
    """Returns the error for nesting beyond `MAX_DEPTH`."""
    return DecodeError("", "nested too deeply")


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """Reads a varint of up to ten bytes as an unsigned 64-bit number."""
    value = data[pos]
    if value < 0x80:
        return value, pos + 1
    # Up to five bytes unrolled, which is faster than a loop.
    byte = data[pos + 1]
    value = value & 0x7F | (byte & 0x7F) << 7
    if byte < 0x80:
        return value, pos + 2
    byte = data[pos + 2]
    value |= (byte & 0x7F) << 14
    if byte < 0x80:
        return value, pos + 3
    byte = data[pos + 3]
    value |= (byte & 0x7F) << 21
    if byte < 0x80:
        return value, pos + 4
    byte = data[pos + 4]
    value |= (byte & 0x7F) << 28
    if byte < 0x80:
        return value, pos + 5
    return _read_long(data, pos + 5, value)


def _read_long(data: bytes, pos: int, value: int) -> tuple[int, int]:
    for shift in range(35, 70, 7):
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & MASK_64, pos
    raise DecodeError("", "a varint is too long")


def read_tag(data: bytes, pos: int) -> tuple[int, int]:
    """Reads a field's number and wire type, in up to five bytes."""
    value, after = read_varint(data, pos)
    if value > MASK_32 or after - pos > 5:
        raise DecodeError("", "a field number is out of range")
    return value, after


def read_size(data: bytes, pos: int) -> tuple[int, int]:
    """Reads a length prefix, in up to five bytes."""
    value, after = read_varint(data, pos)
    if value > 0x7FFF_FFFF or after - pos > 5:
        raise DecodeError("", "a length is out of range")
    return value, after


def only_once(number: int, seen: int) -> int:
    """Notes that a field occurs.

    Args:
        number: The field's number.
        seen: The fields before it, as bits.

    Returns:
        `seen`, with this field.

    Raises:
        DecodeError: It was there before.
    """
    if seen >> number & 1:
        raise DecodeError("", "a message occurs twice")
    return seen | 1 << number


def check_number(tag: int) -> None:
    """Checks the number of an unknown field.

    Raises:
        DecodeError: The field number is invalid.
    """
    if tag < 8:
        raise DecodeError("", "field number 0")


def skip(data: bytes, pos: int, end: int, tag: int, depth: int) -> int:
    """Returns the position after an unknown field.

    Args:
        data: The whole input.
        pos: The position after the field's tag.
        end: The end of the message that contains the field.
        tag: The field's tag.
        depth: The depth to which groups may be nested.

    Raises:
        DecodeError: The field is malformed.
    """
    match tag & 7:
        case 0:
            pos = read_varint(data, pos)[1]
        case 1:
            pos += 8
        case 2:
            size, pos = read_size(data, pos)
            pos += size
        case 3:
            pos = _skip_group(data, pos, end, tag, depth - 1)
        case 4:
            raise DecodeError("", "a group ends that did not begin")
        case 5:
            pos += 4
        case _:
            raise DecodeError("", "unknown wire type")
    if pos > end:
        raise truncated()
    return pos


def _skip_group(data: bytes, pos: int, end: int, start: int, depth: int) -> int:
    if depth < 0:
        raise too_deep()
    while pos < end:
        tag, pos = read_tag(data, pos)
        if tag == start + 1:
            return pos
        check_number(tag)
        pos = skip(data, pos, end, tag, depth)
    raise truncated()


def set_member(message: Any, oneof: str, data: bytes, seen: Seen, depth: int) -> None:
    """Sets the member of a oneof that occurred last.

    Consecutive occurrences of one sub-message are merged; replaced members are only
    checked.

    Args:
        message: The message.
        oneof: The name of the oneof.
        data: The whole input.
        seen: The occurrences, in order; at least one.
        depth: The nesting depth that a member may have.

    Raises:
        DecodeError: A member is malformed, even a replaced one.
    """
    name, decoder, value = seen[-1]
    if len(seen) > 1:
        value = _merged(data, seen, depth)
    elif decoder is not None:
        value = decoder(data, [value], depth)
    choose(message, oneof, name, value)


def _merged(data: bytes, seen: Seen, depth: int) -> Any:
    value: Any = None
    for (_, decoder), run in groupby(seen, itemgetter(0, 1)):
        values = [each[2] for each in run]
        value = decoder(data, values, depth) if decoder else values[-1]
    return value


def signed32(value: int) -> int:
    """Returns the low 32 bits of a number as a signed number."""
    return ((value & MASK_32) ^ _SIGN_32) - _SIGN_32


def signed64(value: int) -> int:
    """Returns an unsigned 64-bit number as a signed one."""
    return (value ^ _SIGN_64) - _SIGN_64


def unzigzag(value: int) -> int:
    """Decodes the ZigZag encoding of a sint32 or sint64."""
    return (value >> 1) ^ -(value & 1)


def unpack_varints(raw: bytes) -> list[int]:
    """Decodes a packed list of varints."""
    if raw.isascii():  # each is a single byte
        return list(raw)
    numbers = []
    pos, end = 0, len(raw)
    while pos < end:
        number, pos = read_varint(raw, pos)
        numbers.append(number)
    return numbers


def unpack_fixed(code: str, raw: bytes) -> list[Any]:
    """Decodes a packed list of fixed-size numbers, whose type is a `struct` format."""
    count, rest = divmod(len(raw), struct.calcsize(f"<{code}"))
    if rest:
        raise truncated()
    return list(struct.unpack(f"<{count}{code}", raw))


unpack_fixed32: Final = struct.Struct("<I").unpack_from
unpack_sfixed32: Final = struct.Struct("<i").unpack_from
unpack_fixed64: Final = struct.Struct("<Q").unpack_from
unpack_sfixed64: Final = struct.Struct("<q").unpack_from
unpack_float: Final = struct.Struct("<f").unpack_from
unpack_double: Final = struct.Struct("<d").unpack_from
