"""Faults of betterproto's own conversions that the codec does not have.

Each test shows the fault too, and fails once betterproto mends it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

import codec
from gen.chat import ChatMessage, GetUserResponse, ListUsersResponse, RelayEvent


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x05ab",
        b"\x0a\xff\xff\xff\xff\x07ab",
        b"\x02\x01a",
        b"\x0e",
        b"\x0f",
        b"\x0c",
    ],
    ids=["truncated", "a lying length", "field 0", "wire type 6", "wire type 7", "end of a group"],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    ChatMessage().parse(data)
    with pytest.raises(codec.DecodeError):
        codec.decode(ChatMessage, data)


def test_truncated_submessage_is_refused() -> None:
    data = b"\x0a\x7f\x0a\x01a"
    assert GetUserResponse().parse(data).user.id == "a"
    with pytest.raises(codec.DecodeError):
        codec.decode(GetUserResponse, data)


@pytest.mark.parametrize("data", [b"\x0a\x01\xff", b"\x28" + b"\xff" * 11, b"\x28"])
def test_errors_have_one_type(data: bytes) -> None:
    with pytest.raises((UnicodeDecodeError, ValueError, EOFError)):
        ChatMessage().parse(data)
    with pytest.raises(codec.DecodeError):
        codec.decode(ChatMessage, data)


def test_wrong_wire_type_sets_no_field() -> None:
    data = b"\x08\x07"
    assert repr(ChatMessage().parse(data).id) == "7"
    assert codec.decode(ChatMessage, data).id == ""


def test_split_submessage_is_merged() -> None:
    data = b"\x0a\x03\x0a\x01a" + b"\x0a\x03\x12\x01b"
    assert GetUserResponse().parse(data).user.id == ""
    user = codec.decode(GetUserResponse, data).user
    assert (user.id, user.name) == ("a", "b")


@pytest.mark.parametrize(
    "value",
    [
        {"id": 5},
        {"id": ["x"]},
        {"seq": 1 << 40},
        {"seq": -1},
        {"no_such_field": 1},
    ],
)
def test_json_is_strict(value: dict[str, object]) -> None:
    ChatMessage().from_dict(value)
    with pytest.raises(codec.DecodeError):
        codec.from_json(ChatMessage, orjson.dumps(value))


def test_json_with_two_oneof_members_is_refused() -> None:
    value = {"chatMessage": {"id": "a"}, "error": {"message": "b"}}
    RelayEvent().from_dict(value)
    with pytest.raises(codec.DecodeError, match="more than one of chat_message, error"):
        codec.from_json(RelayEvent, orjson.dumps(value))


def test_enums_are_written_by_full_name(kitchen: Any) -> None:
    scalars = kitchen.ours("Scalars")
    message = scalars(a_color=1)
    assert message.to_dict()["aColor"] == "RED"
    assert orjson.loads(codec.to_json(message))["a_color"] == "COLOR_RED"
    unknown = codec.decode(scalars, b"\x80\x01\x63")
    assert orjson.loads(codec.to_json(unknown))["a_color"] == 99


def test_zero_times_are_written(kitchen: Any) -> None:
    scalars = kitchen.ours("Scalars")
    message = scalars(a_timestamp=datetime(1970, 1, 1, tzinfo=UTC), a_duration=timedelta(0))
    assert message.to_dict() == {}
    written = orjson.loads(codec.to_json(message))
    assert (written["a_timestamp"], written["a_duration"]) == ("1970-01-01T00:00:00Z", "0s")
    assert codec.encode(message) == b"\x8a\x01\x00\x92\x01\x00"


def test_maps_follow_the_json_mapping(kitchen: Any) -> None:
    maps = kitchen.ours("Maps")
    message = maps(by_bool={True: b"\xff"}, by_uint64={1: 2})
    written = orjson.loads(codec.to_json(message))
    assert written["by_bool"] == {"true": "/w=="}
    assert written["by_uint64"] == {"1": "2"}


def test_negative_enum_numbers_stay_negative(kitchen: Any) -> None:
    scalars = kitchen.ours("Scalars")
    data = b"\x80\x01" + b"\xf9" + b"\xff" * 8 + b"\x01"
    assert scalars().parse(data).a_color == 2**64 - 7
    assert codec.decode(scalars, data).a_color == -7


def test_many_empty_submessages_round_trip() -> None:
    data = b"\x0a\x00" * 5000
    assert codec.encode(codec.decode(ListUsersResponse, data)) == data


def test_nested_messages_are_encoded_once(kitchen: Any) -> None:
    """A message encoded twice at each level would be encoded 2**99 times at the innermost."""
    data = b""
    for _ in range(99):
        size = (
            bytes((len(data),))
            if len(data) < 128
            else bytes((len(data) & 127 | 128, len(data) >> 7))
        )
        data = b"\x12" + size + data
    assert codec.encode(codec.decode(kitchen.ours("Tree"), data)) == data
