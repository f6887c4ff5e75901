"""What applications call: messages to and from bytes and JSON."""

import betterproto
import orjson

from .errors import DecodeError
from .lookup import compiled
from .objects import M
from .reading import MAX_DEPTH, truncated


def encode(message: betterproto.Message) -> bytes:
    """Returns a message's encoding in protobuf's wire format.

    Fields are written in the order of their numbers, then those that are not known, which only a
    message can have that betterproto itself parsed. To read a field never makes it be written.

    Raises:
        TypeError: A value is of another type than its field.
        ValueError: A value is outside its field's range, or messages are nested too deeply.
    """
    try:
        return compiled[type(message)].encode(message, MAX_DEPTH)
    except (AttributeError, KeyError) as error:
        raise TypeError("a value is of another type than its field") from error


def decode(cls: type[M], data: bytes) -> M:
    """Returns the message of type `cls` that `data` is the encoding of.

    Fields that the schema does not know are checked and dropped, at any depth. Protobuf lets a
    parser do so (https://protobuf.dev/programming-guides/proto3/#unknowns); kept, they would be
    passed on and held in memory without anybody having looked at them or counted them.

    Raises:
        DecodeError: `data` is not the encoding of one.
    """
    try:
        message: M = compiled[cls].decode(data, [(0, len(data))], MAX_DEPTH)
    except IndexError:
        raise truncated() from None
    except UnicodeDecodeError:
        raise DecodeError("", "a string is not valid UTF-8") from None
    return message


def to_json(message: betterproto.Message) -> bytes:
    """Returns a message as a JSON object, by protobuf's JSON mapping.

    Fields go by the schema's own names. A field that cannot be unset is written even where it holds
    its default.

    Raises:
        TypeError: A value is of another type than its field.
        ValueError: A value is outside its field's range, or messages are nested too deeply.
    """
    try:
        return orjson.dumps(compiled[type(message)].to_json(message, MAX_DEPTH))
    except (AttributeError, KeyError) as error:
        raise TypeError("a value is of another type than its field") from error


def from_json(cls: type[M], data: bytes | str) -> M:
    """Returns the message of type `cls` that `data` is the JSON object of.

    Fields go by the schema's own names or by their camelCase names. Where one and the same name
    occurs twice in an object, the last counts.

    Raises:
        DecodeError: `data` is not the JSON object of one.
    """
    try:
        members = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _no_json(error) from None
    message: M = compiled[cls].from_json(members, MAX_DEPTH)
    return message


def _no_json(error: orjson.JSONDecodeError) -> DecodeError:
    if "UTF-8" in error.msg:
        return DecodeError("", "not valid UTF-8")
    return DecodeError("", f"not valid JSON: {error.msg} (character {error.pos})")
