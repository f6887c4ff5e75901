"""Random messages, compared with google's protobuf library."""

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import codec
from tests.codec.oracle import all_messages, compare

THOROUGH = settings(max_examples=150)

# Field 20,000, of each wire type.
NOT_KNOWN = b"\x80\xe2\x09\x01\x82\xe2\x09\x01x\x83\xe2\x09\x84\xe2\x09\x85\xe2\x091234"

NEGATIVE = b"\xff\xff\xff\x01"


def test_bytes_match_google(schema: Any) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        data = message.SerializeToString()
        assert codec.encode(codec.decode(schema.ours(name), data)) == data

    check()


def test_unknown_fields_are_dropped_at_any_depth(schema: Any) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        data = message.SerializeToString()
        ours = codec.decode(schema.ours(name), data)
        for each in all_messages(ours):
            vars(each)["_unknown_fields"] = NOT_KNOWN
        longer = codec.encode(ours)
        assert NOT_KNOWN in longer
        compare(schema, name, longer)
        assert codec.encode(codec.decode(schema.ours(name), longer)) == data

    check()


def test_json_matches_google(schema: Any) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        ours = codec.decode(schema.ours(name), message.SerializeToString())
        theirs = json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        # A round trip: a dict may hold values that JSON cannot.
        assert json.loads(codec.to_json(ours)) == json.loads(json.dumps(theirs))

    check()


def test_json_reads_both_name_styles(schema: Any) -> None:
    @THOROUGH
    @given(schema.either(), st.booleans(), st.booleans())
    def check(drawn: tuple[str, Message], schema_names: bool, all_fields: bool) -> None:
        name, message = drawn
        text = json_format.MessageToJson(
            message,
            preserving_proto_field_name=schema_names,
            always_print_fields_with_no_presence=all_fields,
        )
        read = codec.from_json(schema.ours(name), text)
        theirs = json_format.Parse(text, type(message)())
        assert same(codec.encode(read), theirs)

    check()


def test_json_round_trip(schema: Any) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        ours = codec.decode(schema.ours(name), message.SerializeToString())
        again = codec.from_json(type(ours), codec.to_json(ours))
        assert repr(again) == repr(ours)  # ==, except for NaN in a list or map

    check()


def test_betterproto_reads_codec_bytes(chat_schema: Any) -> None:
    @THOROUGH
    @given(chat_schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        data = message.SerializeToString()
        assume(NEGATIVE not in data)  # betterproto decodes negative enum numbers as large ones
        ours = codec.decode(chat_schema.ours(name), data)
        assert type(ours)().parse(codec.encode(ours)) == ours

    check()


def same(data: bytes, message: Message) -> bool:
    """Tells whether google's library decodes `data` to the message, whatever the order of maps."""
    read = type(message).FromString(data)
    return read.SerializeToString(deterministic=True) == message.SerializeToString(
        deterministic=True
    )
