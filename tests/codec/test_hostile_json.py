"""Hostile JSON: refused, with path and reason."""

import json
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from gen.chat import (
    ChatMessage,
    ClientFrame,
    GetChatHistoryRequest,
    ListUsersResponse,
    RelayEvent,
)
from tests.codec.oracle import compare_json


def test_accepted_json_is_accepted_by_google(schema: Any) -> None:
    @settings(max_examples=200)
    @given(st.sampled_from(schema.names), st.data())
    def check(name: str, data: st.DataObject) -> None:
        text = schema.hostile_json(name) | st.binary(max_size=50) | st.text(max_size=50)
        compare_json(schema, name, data.draw(text))

    check()


def reason(cls: Any, data: bytes | str) -> str:
    with pytest.raises(codec.DecodeError) as caught:
        codec.from_json(cls, data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"chat_message": {"room_id": 5}}', "chat_message.room_id: expected a string"),
        ('{"chatMessage": {"roomId": 5}}', "chat_message.room_id: expected a string"),
        ('{"chat_message": {"room_id": ["a"]}}', "chat_message.room_id: expected a string"),
        ('{"chat_message": {"seq": true}}', "chat_message.seq: expected an integer"),
        ('{"chat_message": {"seq": 1.5}}', "chat_message.seq: expected an integer"),
        ('{"chat_message": {"seq": "x"}}', "chat_message.seq: expected an integer"),
        ('{"chat_message": {"seq": ""}}', "chat_message.seq: expected an integer"),
        ('{"chat_message": {"seq": -1}}', "chat_message.seq: out of range"),
        ('{"chat_message": {"seq": 4294967296}}', "chat_message.seq: out of range"),
        ('{"chat_message": {"seq": "4294967296"}}', "chat_message.seq: out of range"),
        ('{"chat_message": {"seq": 1e30}}', "chat_message.seq: out of range"),
        ('{"chat_message": {"sent_at": 5}}', "chat_message.sent_at: expected a string"),
        (
            '{"chat_message": {"sent_at": "now"}}',
            "chat_message.sent_at: expected a time such as 2025-01-31T12:00:00Z",
        ),
        (
            '{"chat_message": {"sent_at": "2025-02-30T00:00:00Z"}}',
            "chat_message.sent_at: out of range",
        ),
        ('{"chat_message": 5}', "chat_message: expected an object"),
        ('{"chat_message": []}', "chat_message: expected an object"),
        ('{"chat_message": {"rom_id": ""}}', "chat_message.rom_id: unknown field"),
        ('{"chat_message": {"x": null}}', "chat_message.x: unknown field"),
        ('{"chat_message": {}, "join": {}}', "more than one of chat_message, join"),
        ('{"chat_message": {"room_id": "", "roomId": ""}}', "chat_message.room_id: given twice"),
        ('{"chat_message": {"roomId": "", "room_id": null}}', "chat_message.room_id: given twice"),
        ('{"chat_message": {"roomId": null, "room_id": ""}}', "chat_message.room_id: given twice"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ('"x"', "expected an object"),
        (b"\xff", "not valid UTF-8"),
        ('{"request_id": "\ud800"}', "not valid UTF-8"),
    ],
)
def test_refusal_names_path_and_reason(text: bytes | str, message: str) -> None:
    assert reason(ClientFrame, text) == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a" 1}',
        '{"request_id": "\\ud800"}',
        "[" * 5000,
        "NaN",
        '{"x": 1e999}',
        "\ufeff{}",
    ],
)
def test_invalid_json_is_named(text: str) -> None:
    assert reason(ClientFrame, text).startswith("not valid JSON: ")


def test_path_in_list() -> None:
    for text, told in {
        '{"users": [{}, {}, {}, {"name": 1}]}': "users[3].name: expected a string",
        '{"users": [{}, null]}': "users[1]: expected an object",
        '{"users": {}}': "users: expected an array",
        '{"users": [{"status": "LOST"}]}': "users[0].status: not a name of this enum",
    }.items():
        assert reason(ListUsersResponse, text) == told


def test_path_in_map(kitchen: Any) -> None:
    maps = kitchen.ours("Maps")
    for text, told in {
        '{"messages": {"k": {"a_bool": 1}}}': "messages[k].a_bool: expected true or false",
        '{"by_bool": {"True": ""}}': "by_bool[True]: expected true or false",
        '{"by_int32": {"x": 1}}': "by_int32[x]: expected an integer",
        '{"by_int32": {"1": 1, "01": 1}}': "by_int32[01]: given twice",
        '{"strings": []}': "strings: expected an object",
        '{"strings": {"a": null}}': "strings[a]: expected a string",
    }.items():
        assert reason(maps, text) == told
    assert reason(maps, '{"strings": {"a\\nb": 1}}').isprintable()


def test_refusal_shows_little_input() -> None:
    shown = reason(ClientFrame, json.dumps({"x\n" + "y" * 100: 1}))
    assert (
        shown == "x\N{REPLACEMENT CHARACTER}" + "y" * 37 + "\N{HORIZONTAL ELLIPSIS}: unknown field"
    )


@pytest.mark.parametrize("levels", [99, 100])
def test_nesting_limit_matches_bytes(kitchen: Any, levels: int) -> None:
    tree = kitchen.ours("Tree")
    text = '{"inner":' * levels + "{}" + "}" * levels
    assert codec.encode(codec.from_json(tree, text))
    deeper = '{"inner":' * 101 + "{}" + "}" * 101
    assert reason(tree, deeper).endswith("nested too deeply")


def test_json_stricter_than_google(kitchen: Any) -> None:
    """Google's library reads all of these; the JSON mapping does not require it."""
    scalars = kitchen.ours("Scalars")
    for text in (
        '{"a_double": true}',
        '{"a_double": " 1"}',
        '{"an_int32": "1_0"}',
        '{"an_int32": "+1"}',
        '{"a_color": "1"}',
        '{"a_color": 1.5}',
        '{"a_color": true}',
        '{"a_bytes": "?"}',
        '{"a_timestamp": "2025-1-1T0:0:0Z"}',
        '{"an_int64": -9223372036854775808.0}',
    ):
        json_format.Parse(text, kitchen.google("Scalars")())
        with pytest.raises(codec.DecodeError):
            codec.from_json(scalars, text)


def test_last_duplicate_name_wins() -> None:
    """RFC 8259, section 4, leaves it open; google's library refuses it, orjson cannot detect it."""
    assert codec.from_json(ChatMessage, '{"id": "a", "id": "b"}').id == "b"


@pytest.mark.parametrize("number", ["7", "7.0", "7e0", "70e-1", '"7"', '"7e0"', '"07"'])
def test_integer_notations(number: str) -> None:
    assert codec.from_json(GetChatHistoryRequest, f'{{"limit": {number}}}').limit == 7


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1])
def test_int64_limits(kitchen: Any, number: int) -> None:
    for text in (f'{{"an_int64": {number}}}', f'{{"an_int64": "{number}"}}'):
        assert codec.from_json(kitchen.ours("Scalars"), text).an_int64 == number


def test_largest_float_is_read(kitchen: Any) -> None:
    message = kitchen.ours("Scalars")(a_float=2.0**128 - 2.0**104)
    assert codec.from_json(type(message), codec.to_json(message)) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *[
            (text, "an_int64: out of range")
            for number in (-(2**63) - 1, 2**63, 2**64)
            for text in (f'{{"an_int64": {number}}}', f'{{"an_int64": "{number}"}}')
        ],
        ('{"a_float": 3.5e38}', "a_float: out of range"),
        ('{"a_float": "-3.5e38"}', "a_float: out of range"),
        ('{"a_double": "1e999"}', "a_double: out of range"),
        ('{"a_double": "nan"}', "a_double: expected a number"),
        ('{"a_double": {}}', "a_double: expected a number"),
        ('{"a_duration": 1}', "a_duration: expected a string"),
        ('{"a_duration": "1"}', "a_duration: expected a duration such as 1.5s"),
        ('{"a_duration": "s"}', "a_duration: expected a duration such as 1.5s"),
        ('{"a_duration": "315576000001s"}', "a_duration: out of range"),
        ('{"a_bytes": 1}', "a_bytes: expected a string"),
        ('{"a_bytes": "a"}', "a_bytes: expected base64"),
        ('{"a_bool": "true"}', "a_bool: expected true or false"),
    ],
)
def test_other_types_name_their_faults(kitchen: Any, text: str, message: str) -> None:
    assert reason(kitchen.ours("Scalars"), text) == message


@pytest.mark.parametrize("digits", ["-_8", "-_8=", "+/8", "+/8="])
def test_base64_alphabets_and_padding(kitchen: Any, digits: str) -> None:
    message = codec.from_json(kitchen.ours("Scalars"), f'{{"a_bytes": "{digits}"}}')
    assert message.a_bytes == b"\xfb\xff"


def test_null_leaves_field_unset() -> None:
    text = '{"join": {"roomId": null, "after_seq": null, "epoch": null}, "leave": null}'
    message = codec.from_json(ClientFrame, text)
    assert orjson.loads(codec.to_json(message)) == {
        "join": {"room_id": "", "follow": [], "user_id": ""}
    }


def test_strings_refuse_lone_surrogates() -> None:
    text = '{"content": "\\u0000\\ud83d\\ude00\\u2028"}'
    message = codec.from_json(ChatMessage, text)
    assert message.content == "\0\N{GRINNING FACE}\u2028"
    assert codec.from_json(ChatMessage, codec.to_json(message)) == message


@pytest.mark.parametrize("zeros", [0, 1, 30, 5000])
@pytest.mark.parametrize("number", [0, 1, 6638723473754791136, 2**64 - 1])
def test_leading_zeros_change_nothing(zeros: int, number: int) -> None:
    event = codec.from_json(RelayEvent, json.dumps({"ref": f"{'0' * zeros}{number}"}))
    assert event.ref == number


@pytest.mark.parametrize(
    "text", ["-00000000000000000000000000001", "000000000018446744073709551616"]
)
def test_leading_zeros_hide_no_overflow(text: str) -> None:
    assert reason(RelayEvent, json.dumps({"ref": text})) == "ref: out of range"
