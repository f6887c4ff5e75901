"""Fields unknown to the schema: puts them into messages, and finds them again."""

import gc
from typing import Final

import betterproto

import codec
from tests.codec.oracle import all_messages

FILLING: Final = b"\x9a\x06\xc0\xb8\x02" + b"\xa5" * 40_000
"""Field 99, of 40,000 bytes."""


def filled(message: betterproto.Message, *, of: type[betterproto.Message]) -> bytes:
    """Encodes a message, with an unknown field in each message of a type within it."""
    for each in all_messages(message):
        if isinstance(each, of):
            vars(each)["_unknown_fields"] = FILLING
    data = codec.encode(message)
    for each in all_messages(message):
        vars(each).pop("_unknown_fields", None)
    return data


def holders() -> int:
    """Number of messages in this process that hold an unknown field."""
    gc.collect()
    return sum(
        isinstance(each, betterproto.Message) and bool(vars(each).get("_unknown_fields"))
        for each in gc.get_objects()
    )
