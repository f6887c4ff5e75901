"""Fuzz targets for the codec, with google's protobuf library as the oracle."""

from __future__ import annotations

import tempfile
from functools import cache
from json import dumps
from pathlib import Path
from random import Random
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

import codec
from tests.codec.oracle import TIMES, Schema, chat_schema, compare, compare_json, kitchen_schema
from tests.fuzz.steps import Choices

_FOLDER = tempfile.TemporaryDirectory(prefix="kitchen-")


@cache
def _types() -> list[tuple[Schema, str]]:
    """All message types; a byte of the input selects one."""
    schemas = (chat_schema(), kitchen_schema(Path(_FOLDER.name)))
    return [(schema, name) for schema in schemas for name in schema.names]


def decode(data: bytes) -> None:
    """Decodes bytes as google's library does, or rejects them; then round-trips the message."""
    choices = Choices(data)
    schema, name = choices.of(_types())
    raw = choices.rest()
    compare(schema, name, raw)
    try:
        message = codec.decode(schema.ours(name), raw)
    except codec.DecodeError as error:
        _check_refusal(error)
        return
    _check_encoding(message)
    _check_json(message)


def json(data: bytes) -> None:
    """Decodes JSON as google's library does, or rejects it; then round-trips the message."""
    choices = Choices(data)
    schema, name = choices.of(_types())
    raw = choices.rest()
    try:
        message = codec.from_json(schema.ours(name), raw)
    except codec.DecodeError as error:
        _check_refusal(error)
        return
    # Of a repeated member the last one counts here; google's library rejects it.
    text = dumps(orjson.loads(raw))
    assert repr(codec.from_json(type(message), text)) == repr(message)
    compare_json(schema, name, text)
    _check_encoding(message)
    _check_json(message)


def _check_refusal(error: codec.DecodeError) -> None:
    text = str(error)
    assert text.isprintable(), text
    assert 0 < len(text) < 1000, text


def _check_encoding(message: Any) -> None:
    written = codec.encode(message)
    again = codec.decode(type(message), written)
    assert codec.encode(again) == written
    assert repr(again) == repr(message)  # ==, except for NaN


def _check_json(message: Any) -> None:
    written = codec.to_json(message)
    again = codec.from_json(type(message), written)
    assert codec.to_json(again) == written


def seeds() -> tuple[list[bytes], list[bytes]]:
    """Random messages of each type, for `decode` and `json`; the JSON may have odd values."""
    random = Random(1)  # noqa: S311 - made up, not secret
    encoded, jsons = [], []
    for number, (schema, name) in enumerate(_types()):
        kind = bytes((number,))
        for _ in range(3):
            message = schema.google(name)()
            _fill(random, message, 3)
            encoded.append(kind + message.SerializeToString())
            jsons.append(kind + json_format.MessageToJson(message, indent=None).encode())
        jsons += [kind + text.encode() for text in _odd(random, schema.google(name))]
    return encoded, jsons


def _odd(random: Random, cls: type[Message]) -> list[str]:
    """Objects with one member each, whose value may be invalid for the field."""
    return [
        dumps({random.choice([field.name, field.json_name]): value})
        for field in cls.DESCRIPTOR.fields
        for value in random.sample(_ODD, 3)
    ]


def _fill(random: Random, message: Message, depth: int) -> None:
    """Sets some of a message's fields to random values."""
    if message.DESCRIPTOR.full_name in TIMES:
        message.MergeFromString(b"\x08\x05\x10\xc0\x84\x3d")  # 5.001 s
        return
    fields: list[Any] = list(message.DESCRIPTOR.fields)
    for field in fields:
        if random.random() < 0.3 or (field.message_type is not None and not depth):
            continue
        value = getattr(message, field.name)
        if field.message_type is None:
            wanted = random.choice(_VALUES[field.cpp_type])
            if field.type == FieldDescriptor.TYPE_BYTES:
                wanted = wanted.encode()
            value.append(wanted) if field.is_repeated else setattr(message, field.name, wanted)
        elif not field.message_type.GetOptions().map_entry:
            inner = value.add() if field.is_repeated else value
            inner.SetInParent()
            _fill(random, inner, depth - 1)


# Values that are invalid for some fields, or valid in an unusual form.
_ODD: list[Any] = [True, "true", 1, 1.0, 1.5, "1", -1, 2**64, "", "x", None, [], [True], {}, [{}]]

# By `FieldDescriptor.cpp_type`.
_VALUES: dict[int, list[Any]] = {
    1: [0, 1, -1, 300, 2**31 - 1],
    2: [0, 1, -1, 2**40],
    3: [0, 1, 300, 2**32 - 1],
    4: [0, 1, 2**40],
    5: [0.0, -1.5, 1e300],
    6: [0.0, -1.5, 2.0**100],
    7: [False, True],
    8: [0, 1, 2],
    9: ["", "lobby", "é", "x" * 130],
}
