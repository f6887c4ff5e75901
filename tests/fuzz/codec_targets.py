"""Fuzz targets for the codec, with google's protobuf library as the oracle."""

import tempfile
from functools import cache
from pathlib import Path

from google.protobuf import json_format
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

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
    """Random messages of each type, for `decode` and `json`; the JSON may have odd values."""
    encoded: list[bytes] = []
    jsons: list[bytes] = []

    @settings(max_examples=700, derandomize=True, database=None, phases=[Phase.generate])
    @given(st.integers(0, len(_types()) - 1), st.data())
    def make(number: int, data: st.DataObject) -> None:
        schema, name = _types()[number]
        message, odd = data.draw(schema.messages(name)), data.draw(schema.hostile_json(name))
        kind = bytes((number,))
        encoded.append(kind + message.SerializeToString())
        text = json_format.MessageToJson(message, indent=None)
        jsons.extend(kind + each.encode() for each in (text, odd))

    make()
    return encoded, jsons
