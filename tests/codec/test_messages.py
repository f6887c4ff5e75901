"""Messages of the codec are betterproto's, and the codec encodes any of betterproto's."""

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import betterproto
import orjson
import pytest
from betterproto.lib.google.protobuf import Timestamp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import codec
from gen.chat import (
    ChatMessage,
    ChatStream,
    Error,
    ErrorCode,
    GetChatHistoryRequest,
    GetUserResponse,
    Join,
    ListUsersResponse,
    RelayEvent,
    User,
)

THOROUGH = settings(max_examples=150)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_omitted_fields_are_unset(schema: Any) -> None:
    for name in schema.names:
        constructed = schema.ours(name)()
        assert constructed == codec.from_json(schema.ours(name), "{}")
        assert codec.encode(constructed) == b""
        assert codec.to_json(constructed) == codec.to_json(codec.decode(schema.ours(name), b""))


def test_messages_share_no_containers(kitchen: Any) -> None:
    users = [User(id="a")]
    response = ListUsersResponse(users=users)
    users.clear()
    assert [user.id for user in response.users] == ["a"]
    strings = {"a": "b"}
    maps = kitchen.ours("Maps")(strings=strings)
    strings.clear()
    assert maps.strings == {"a": "b"}
    assert ListUsersResponse().users is not ListUsersResponse().users


def test_oneof_takes_one_member() -> None:
    with pytest.raises(ValueError, match="more than one of chat_message, join"):
        ChatStream(chat_message=ChatMessage(), join=Join())
    join, sent = Join(room_id="r"), ChatMessage(id="1")
    message: Any = ChatStream(join=join)
    assert [message.payload, message.join] == [join, join]
    message.chat_message = sent
    assert [message.payload, message.chat_message] == [sent, sent]
    assert betterproto.which_one_of(message, "payload") == ("chat_message", sent)
    with pytest.raises(AttributeError, match="'payload' is set to 'chat_message', not 'join'"):
        _ = message.join
    assert codec.encode(message) == b"\x0a\x03\x0a\x011"
    message.chat_message = None
    assert message.payload is None
    assert codec.encode(message) == codec.encode(ChatStream(join=None)) == b""


def test_writing_into_unset_message_sets_it() -> None:
    response = GetUserResponse()
    assert response.user.name == ""
    assert not betterproto.serialized_on_wire(response.user)
    assert codec.encode(response) == b""
    response.user.name = "x"
    assert betterproto.serialized_on_wire(response.user)
    assert codec.encode(response) == bytes(response) == b"\x0a\x03\x12\x01x"
    assert response.to_dict() == {"user": {"name": "x"}}


def test_empty_message_is_sent_if_set() -> None:
    assigned = GetUserResponse()
    assigned.user = User()
    for response in (
        GetUserResponse(user=User()),
        assigned,
        codec.decode(GetUserResponse, b"\x0a\x00"),
    ):
        assert response.is_set("user")
        assert codec.encode(response) == bytes(response) == b"\x0a\x00"
        assert codec.from_json(GetUserResponse, codec.to_json(response)).is_set("user")


def test_epoch_read_differs_from_epoch_set() -> None:
    message = ChatMessage(id="1")
    assert message.sent_at == EPOCH
    assert not message.is_set("sent_at")
    again = dataclasses.replace(message, sent_at=message.sent_at)
    assert codec.encode(again) == b"\x0a\x011"
    again.sent_at = None  # type: ignore[assignment] # betterproto can
    assert codec.encode(again) == b"\x0a\x011"
    again.sent_at = datetime(1970, 1, 1, tzinfo=UTC)
    assert codec.encode(again) == b"\x0a\x011\x32\x00"
    assert codec.decode(ChatMessage, codec.encode(again)).is_set("sent_at")


NOT_KNOWN = b"\x98\x06\x01" + b"\xa2\x06\x01x" + b"\x9d\x06abcd"


def test_unknown_fields_of_betterproto_are_written() -> None:
    message = ChatMessage().parse(b"\x0a\x011" + NOT_KNOWN)
    assert codec.encode(message) == bytes(message) == b"\x0a\x011" + NOT_KNOWN


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (ChatMessage(seq=-1), ValueError),
        (ChatMessage(seq=1 << 32), ValueError),
        (RelayEvent(ref=1 << 64), ValueError),
        (GetChatHistoryRequest(limit=1 << 31), ValueError),
        (GetChatHistoryRequest(limit=-(1 << 31) - 1), ValueError),
        (Error(code=1 << 31), ValueError),  # type: ignore[arg-type] # mistakes are what this tests
        (ChatMessage(id="\ud800"), ValueError),
        (ChatMessage(sent_at=datetime(2025, 1, 1)), ValueError),  # noqa: DTZ001 - the mistake
        (ChatMessage(id=5), TypeError),  # type: ignore[arg-type]
        (ChatMessage(id=b"x"), TypeError),  # type: ignore[arg-type]
        (ChatMessage(seq="x"), TypeError),  # type: ignore[arg-type]
        (ChatMessage(seq=1.5), TypeError),  # type: ignore[arg-type]
        (ChatMessage(seq=1e9), TypeError),  # type: ignore[arg-type]
        (ChatStream(join=User()), TypeError),  # type: ignore[arg-type]
        (ChatStream(join="x"), TypeError),  # type: ignore[arg-type]
    ],
)
def test_invalid_value_is_not_encoded(message: betterproto.Message, error: type[Exception]) -> None:
    with pytest.raises(error):
        codec.encode(message)


@pytest.mark.parametrize(
    "kind", ["fixed32", "sfixed32", "fixed64", "sfixed64", "sint32", "sint64", "float"]
)
def test_number_out_of_range_is_not_encoded(kitchen: Any, kind: str) -> None:
    scalars = kitchen.ours("Scalars")
    for value in (1 << 200, -(1 << 200)):
        with pytest.raises(ValueError, match=f"a value of type {kind} is out of range"):
            codec.encode(scalars(**{f"a_{kind}": value}))
    with pytest.raises(TypeError):
        codec.encode(scalars(**{f"a_{kind}": "x"}))


def test_number_limits_are_encoded(kitchen: Any) -> None:
    for field, value in (("an_int64", 1 << 63), ("an_int64", -(1 << 63) - 1), ("a_float", 1e39)):
        with pytest.raises(ValueError, match="out of range"):
            codec.encode(kitchen.ours("Scalars")(**{field: value}))


def test_invalid_value_is_not_written_as_json(kitchen: Any) -> None:
    scalars = kitchen.ours("Scalars")
    naive = datetime(2025, 1, 1)  # noqa: DTZ001 - the mistake
    for message in (ChatMessage(sent_at=naive), scalars(a_duration=timedelta.max)):
        with pytest.raises(ValueError, match=r"needs a time zone|too long"):
            codec.to_json(message)
    for message in (ChatMessage(id=b"x"), ChatStream(join=User()), ChatMessage(sent_at="now")):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            codec.to_json(message)


def test_undecodable_nesting_is_not_encoded(kitchen: Any) -> None:
    tree = kitchen.ours("Tree")
    message = tree()
    for _ in range(100):
        message = tree(inner=message)
    assert codec.decode(tree, codec.encode(message)) == message
    assert codec.from_json(tree, codec.to_json(message)) == message
    cycle = tree()
    cycle.inner = cycle
    for convert in (codec.encode, codec.to_json):
        for deep in (tree(inner=message), cycle):
            with pytest.raises(ValueError, match="nested too deeply"):
                convert(deep)


def test_only_generated_messages_are_accepted() -> None:
    for message in (Timestamp(), "x", None):
        with pytest.raises(TypeError):
            codec.encode(message)  # type: ignore[arg-type] # mistakes are what this tests
    with pytest.raises(TypeError):
        codec.decode(int, b"")  # type: ignore[type-var]


@THOROUGH
@given(
    st.datetimes(timezones=st.just(UTC))
    | st.datetimes(timezones=st.integers(-12, 12).map(lambda h: timezone(timedelta(hours=h))))
)
def test_datetimes_survive_a_round_trip(moment: datetime) -> None:
    assume(1 < moment.year < 9999)
    message = ChatMessage(sent_at=moment)
    for again in (
        codec.decode(ChatMessage, codec.encode(message)),
        codec.from_json(ChatMessage, codec.to_json(message)),
    ):
        assert again.sent_at == moment
        assert again.sent_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-31T12:00:00Z", datetime(2025, 1, 31, 12, tzinfo=UTC)),
        ("2025-01-31T12:00:00+01:30", datetime(2025, 1, 31, 10, 30, tzinfo=UTC)),
        ("2025-01-31T12:00:00.5-00:30", datetime(2025, 1, 31, 12, 30, 0, 500_000, tzinfo=UTC)),
        ("2025-01-31T12:00:00.123456789Z", datetime(2025, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_time_texts(text: str, moment: datetime) -> None:
    assert codec.from_json(ChatMessage, f'{{"sent_at": "{text}"}}').sent_at == moment


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2025-01-01T00:00:00+24:00",
        "2025-01-01T00:00:60Z",
    ],
)
def test_times_outside_the_calendar(text: str) -> None:
    with pytest.raises(codec.DecodeError, match="sent_at: out of range"):
        codec.from_json(ChatMessage, f'{{"sent_at": "{text}"}}')


def test_unknown_enum_numbers() -> None:
    message = codec.decode(Error, b"\x08\x63")
    assert (message.code, message.code.name) == (99, None)
    assert codec.encode(message) == b"\x08\x63"
    assert orjson.loads(codec.to_json(message))["code"] == 99
    assert codec.from_json(Error, b'{"code": 99}') == message
    assert codec.from_json(Error, b'{"code": "NOT_FOUND"}').code is ErrorCode.NOT_FOUND
    assert codec.from_json(Error, b'{"code": 5}').code is ErrorCode.NOT_FOUND


def test_runtime_needs_no_compiler() -> None:
    code = (
        "import sys, codec, gen.chat_codec\n"
        "print([m for m in ('google.protobuf', 'grpc_tools', 'black', 'click')"
        " if m in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
