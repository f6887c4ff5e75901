"""Fuzz targets for the codec, with google's protobuf library as the oracle."""

import tempfile
from functools import cache
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import Phase, given, settings

from tests.codec.oracle import Schema, chat_schema, compare, compare_json, kitchen_schema
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
    compare(*choices.of(_types()), choices.rest())


def json(data: bytes) -> None:
    """Decodes JSON as google's library does, or rejects it; then round-trips the message."""
    choices = Choices(data)
    compare_json(*choices.of(_types()), choices.rest())


@cache
def seeds() -> tuple[list[bytes], list[bytes]]:
    """Random messages of every type, for `decode` and `json`; the JSON may have odd values."""
    encoded: list[bytes] = []
    jsons: list[bytes] = []

    def make_some(number: int) -> None:
        schema, name = _types()[number]
        kind = bytes((number,))

        @settings(max_examples=5, derandomize=True, database=None, phases=[Phase.generate])
        @given(schema.messages(name), schema.hostile_json(name))
        def make(message: Message, odd: str) -> None:
            encoded.append(kind + message.SerializeToString())
            text = json_format.MessageToJson(message, indent=None)
            jsons.extend(kind + each.encode() for each in (text, odd))

        make()

    for number in range(len(_types())):
        make_some(number)
    return encoded, jsons
