"""The public functions: messages to and from bytes and JSON."""

import betterproto
import orjson

from .errors import DecodeError
from .lookup import compiled
from .objects import M
from .reading import MAX_DEPTH, not_utf8, truncated


def encode(message: betterproto.Message) -> bytes:
    """Returns the encoding of a message in protobuf's wire format.

    Fields are written in the order of their numbers, then unknown fields, which only messages
    parsed by betterproto itself have. Reading a field never causes it to be written.

    Raises:
        TypeError: A value has another type than its field.
        ValueError: A value is outside its field's range, or messages are nested too deeply.
    """
    try:
        return compiled[type(message)].encode(message, MAX_DEPTH)
    except (AttributeError, KeyError) as error:
        raise TypeError("a value is of another type than its field") from error


def decode(cls: type[M], data: bytes) -> M:
    """Decodes a message of type `cls`.

    Unknown fields are checked and dropped, at any depth. Protobuf allows
    this (https://protobuf.dev/programming-guides/proto3/#unknowns); kept, they would be
    passed on and held in memory without being validated or counted.

    Raises:
        DecodeError: `data` is not the encoding of such a message.
    """
    try:
        message: M = compiled[cls].decode(data, [(0, len(data))], MAX_DEPTH)
    except IndexError:
        raise truncated() from None
    except UnicodeDecodeError:
        raise not_utf8() from None
    return message


def to_json(message: betterproto.Message) -> bytes:
    """Returns a message as a JSON object, in protobuf's JSON mapping.

    Fields have the names of the schema. A field without presence is written even if it has
    its default.

    Raises:
        TypeError: A value has another type than its field.
        ValueError: A value is outside its field's range, or messages are nested too deeply.
    """
    try:
        return orjson.dumps(compiled[type(message)].to_json(message, MAX_DEPTH))
    except (AttributeError, KeyError) as error:
        raise TypeError("a value is of another type than its field") from error


def from_json(cls: type[M], data: bytes | str) -> M:
    """Parses a message of type `cls` from a JSON object.

    Fields have the names of the schema or their camelCase names. If the same name occurs twice
    in an object, the last one counts.

    Raises:
        DecodeError: `data` is not the JSON of such a message.
    """
    try:
        members = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _no_json(error) from None
    message: M = compiled[cls].from_json(members, MAX_DEPTH)
    return message


def _no_json(error: orjson.JSONDecodeError) -> DecodeError:
    if "not valid UTF-8" in error.msg:
        return DecodeError("", "not valid UTF-8")
    return DecodeError("", f"not valid JSON: {error.msg} (character {error.pos})")
