"""Encodes the wire format: primitives for generated code.

Source: https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Callable
from math import copysign
from typing import Any, Final

MASK_64: Final = 0xFFFF_FFFF_FFFF_FFFF
_MASK_32: Final = 0xFFFF_FFFF
_SIGN_32: Final = 0x8000_0000
_SIGN_64: Final = 0x8000_0000_0000_0000


def varint(value: int) -> bytes:
    """Encodes a non-negative number as a varint."""
    # Up to three bytes unrolled, which is faster than a loop.
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x20_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = []
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag_table(tag: int) -> tuple[bytes, ...]:
    """Returns a tag and a number, for each number below 128, as most lengths and numbers are."""
    return tuple(tagged(tag, value) for value in range(128))


def tagged(tag: int, value: int) -> bytes:
    """Encodes a tag, and a number or length."""
    if tag < 0x80:
        if value < 0x80:
            return bytes((tag, value))
        if value < 0x4000:
            return bytes((tag, value & 0x7F | 0x80, value >> 7))
    return varint(tag) + varint(value)


def pack_varints(numbers: list[int]) -> bytes:
    """Encodes a packed list of non-negative varints."""
    return bytes(numbers) if max(numbers) < 0x80 else b"".join(map(varint, numbers))


def _out_of_range(kind: str) -> ValueError:
    return ValueError(f"a value of type {kind} is out of range")


def uint32(value: int) -> int:
    """Checks a uint32, and returns the number to encode.

    Raises:
        ValueError: The value is out of range.
    """
    if 0 <= value <= _MASK_32:
        return value
    raise _out_of_range("uint32")


def uint64(value: int) -> int:
    """Checks a uint64, and returns the number to encode.

    Raises:
        ValueError: The value is out of range.
    """
    if 0 <= value <= MASK_64:
        return value
    raise _out_of_range("uint64")


def int32(value: int) -> int:
    """Checks an int32 or an enum, and returns the number to encode.

    Raises:
        ValueError: The value is out of range.
    """
    if -_SIGN_32 <= value < _SIGN_32:
        return value & MASK_64
    raise _out_of_range("int32")


def int64(value: int) -> int:
    """Checks an int64, and returns the number to encode.

    Raises:
        ValueError: The value is out of range.
    """
    if -_SIGN_64 <= value < _SIGN_64:
        return value & MASK_64
    raise _out_of_range("int64")


def sint32(value: int) -> int:
    """Checks a sint32, and returns the number to encode.

    Raises:
        ValueError: The value is out of range.
    """
    if -_SIGN_32 <= value < _SIGN_32:
        return value << 1 ^ value >> 31
    raise _out_of_range("sint32")


def sint64(value: int) -> int:
    """Checks a sint64, and returns the number to encode.

    Raises:
        ValueError: The value is out of range.
    """
    if -_SIGN_64 <= value < _SIGN_64:
        return value << 1 ^ value >> 63
    raise _out_of_range("sint64")


def _packer(kind: str, code: str) -> Callable[[float], bytes]:
    packed = struct.Struct(f"<{code}").pack

    def pack(value: float) -> bytes:
        try:
            return packed(value)
        except OverflowError:
            raise _out_of_range(kind) from None
        except struct.error:
            if isinstance(value, int):
                raise _out_of_range(kind) from None
            raise TypeError(f"expected a value of type {kind}") from None

    return pack


def pack_fixed(code: str, values: list[Any], pack: Callable[[Any], bytes]) -> bytes:
    """Encodes a packed list of fixed-size numbers.

    Args:
        code: Their type, as a `struct` format.
        values: The numbers.
        pack: Encodes one of them, or raises the error for it.
    """
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError):
        return b"".join(map(pack, values))


pack_fixed32: Final = _packer("fixed32", "I")
pack_sfixed32: Final = _packer("sfixed32", "i")
pack_fixed64: Final = _packer("fixed64", "Q")
pack_sfixed64: Final = _packer("sfixed64", "q")
pack_float: Final = _packer("float", "f")
pack_double: Final = _packer("double", "d")


def is_nonzero(value: float) -> bool:
    """Returns whether a float differs from the default 0.0; -0.0 does."""
    return value != 0 or copysign(1.0, value) < 0
