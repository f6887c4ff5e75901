"""Hostile bytes: decoded as google's library does, or refused."""

import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from gen.chat import ChatMessage, GetUserResponse, RelayResponse
from tests.codec.oracle import compare

GARBAGE = st.binary(max_size=64) | st.lists(
    st.sampled_from([b"\x0a", b"\x12", b"\x1a", b"\x08", b"\x0b", b"\x0c", b"\x01", b"\xff", b"\0"])
    | st.integers(0, 200).map(lambda n: bytes((n,))),
    max_size=40,
).map(b"".join)


def garbage(_: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return GARBAGE


def concatenated(encoded: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Concatenated encodings, which are merged."""
    return st.lists(encoded, min_size=2, max_size=3).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn, encoded: st.SearchStrategy[bytes]) -> bytes:
    raw = bytearray(draw(encoded))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.sampled_from(["cut", "insert", "delete", "change", "repeat"])):
            case "cut":
                del raw[at:]
            case "insert":
                raw[at:at] = draw(st.binary(max_size=3))
            case "delete":
                del raw[at : at + draw(st.integers(1, 3))]
            case "repeat":
                raw += raw[at:]
            case _ if at < len(raw):
                raw[at] = draw(st.integers(0, 255))
    return bytes(raw)


@pytest.mark.parametrize("hostile", [garbage, concatenated, mutated])
def test_hostile_bytes_match_google(schema: Any, hostile: Any) -> None:
    @settings(max_examples=150)
    @given(st.sampled_from(schema.names), st.data())
    def check(name: str, data: st.DataObject) -> None:
        encoded = schema.messages(name).map(lambda message: message.SerializeToString())
        compare(schema, name, data.draw(hostile(encoded)))

    check()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a\x05ab", "truncated"),
        (b"\x0a", "truncated"),
        (b"\x8a", "truncated"),
        (b"\x28\x80", "truncated"),
        (b"\x32\x03\x08\x01", "truncated"),
        (b"\x32\x01\x08", "truncated"),
        (b"\x32\x02\x08\x80\x28\x01", "truncated"),
        (b"\x0a\xff\xff\xff\xff\x07ab", "truncated"),
        (b"\x0a\xff\xff\xff\xff\xff\x07ab", "a length is out of range"),
        (b"\x28" + b"\x80" * 10 + b"\x01", "a varint is too long"),
        (b"\xff\xff\xff\xff\x1f\x00", "a field number is out of range"),
        (b"\x02\x01a", "field number 0"),
        (b"\x00\x01", "field number 0"),
        (b"\x01" + b"\0" * 8, "field number 0"),
        (b"\x0b\x02\x00\x0c", "field number 0"),
        (b"\x0e", "unknown wire type"),
        (b"\x0f", "unknown wire type"),
        (b"\x0c", "a group ends that did not begin"),
        (b"\x0b\x14", "a group ends that did not begin"),
        (b"\x0b", "truncated"),
        (b"\x0a\x01\xff", "a string is not valid UTF-8"),
        (b"\x0a\x03\xed\xa0\x80", "a string is not valid UTF-8"),
        (b"\x32\x07\x08\xff\xff\xff\xff\xff\x7f", "a timestamp is out of range"),
        (b"\x32\x06\x10\x80\x94\xeb\xdc\x03", "a timestamp is out of range"),
    ],
)
def test_refusal_names_the_fault(data: bytes, reason: str) -> None:
    with pytest.raises(codec.DecodeError) as caught:
        codec.decode(ChatMessage, data)
    assert (caught.value.path, caught.value.reason) == ("", reason)


ODD = {
    "ChatStream": [b"\x0a\x02\x0a\x05\x12\x00", b"\x12\x00\x0a\x02\x0a\x05"],
    # Tags that are longer than need be.
    "ChatMessage": [b"\x8a\x00\x01x", b"\xa8\x80\x00\x07", b"\x32\x03\x88\x00\x07"],
    # Packed, and cut short.
    "Lists": [b"\x0a\x09" + b"x" * 9, b"\x12\x03abc", b"\x4a\x05abcde", b"\x4a\x00"],
}


def test_odd_bytes_match_google(chat_schema: Any, kitchen: Any) -> None:
    """A oneof's member that is replaced counts, too."""
    for name, pieces in ODD.items():
        for data in pieces:
            compare(kitchen if name == "Lists" else chat_schema, name, data)


def test_wrong_wire_type_is_unknown_field() -> None:
    data = b"\x08\x07" + b"\x0d\1\2\3\4" + b"\x2a\x01x"
    message = codec.decode(ChatMessage, data)
    assert (message.id, message.seq) == ("", 0)
    assert codec.encode(message) == b""


@pytest.mark.parametrize("levels", [98, 99, 100, 101])
@pytest.mark.parametrize("field", [2, 3, 4, 5])
@pytest.mark.parametrize("leaf", [b"", b"\x3a\x00", b"\x42\x00", b"\x3a\x03\x8a\x01\x00"])
def test_nesting_limit_matches_google(kitchen: Any, leaf: bytes, field: int, levels: int) -> None:
    data = leaf
    for _ in range(levels):
        if field == 4:
            data = b"\x12" + length(data)
        data = bytes((field << 3 | 2,)) + length(data)
    compare(kitchen, "Tree", data)


@pytest.mark.parametrize(
    "data", [b"\x08\x81\xbc\xae\xce\x97\x09", b"\x08\x01\x10\xff" + b"\xff" * 8 + b"\x01"]
)
def test_durations_out_of_range(kitchen: Any, data: bytes) -> None:
    with pytest.raises(codec.DecodeError, match="a duration is out of range"):
        codec.decode(kitchen.ours("Scalars"), b"\x92\x01" + length(data))


@pytest.mark.parametrize("levels", [100, 101])
def test_unknown_groups_match_google(kitchen: Any, levels: int) -> None:
    compare(kitchen, "Tree", b"\xfb\x01" * levels + b"\xfc\x01" * levels)
    with pytest.raises(codec.DecodeError, match="nested too deeply"):
        codec.decode(kitchen.ours("Tree"), b"\xfb\x01" * 50_000)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\x0a\x01k",
        b"\x12\x02\x68\x01",
        b"\x12\x02\x68\x01\x0a\x01k",
        b"\x0a\x01k\x12\x02\x68\x01\x12\x02\x18\x07",
        b"\x0a\x01k\x0a\x01l",
        b"\x0a\x01k\x1a\x00",
        b"\x0a\x01k\x18\x00\x12\x02\x68\x01",
        b"\x08\x01",
        b"\x12\x01",
    ],
)
def test_unusual_map_entries(kitchen: Any, entry: bytes) -> None:
    for field in (b"\x72", b"\x7a", b"\x82\x01"):
        data = field + length(entry)
        compare(kitchen, "Maps", data)
        compare(kitchen, "Maps", field + length(b"\x0a\x01k") + data)


def length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 127:
        out += bytes((size & 127 | 128,))
        size >>= 7
    return out + bytes((size,)) + data


def test_false_length_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(codec.DecodeError):
            codec.decode(GetUserResponse, b"\x0a\xff\xff\xff\xff\x07" + b"x" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


BOMBS = {
    "empty sub-messages": b"\x0a\x00",
    "one sub-message again and again": b"\x0a\x02\x12\x00",
    "unknown fields": b"\x98\x06\x01",
    "unknown fields of one sub-message": b"\x0a\x05\x12\x03\x98\x06\x01",
    "one oneof's members in turn": b"\x0a\x04\x12\x00\x1a\x00",
}


@pytest.mark.parametrize("piece", BOMBS.values(), ids=BOMBS)
def test_decoding_work_is_linear(piece: bytes) -> None:
    def calls(count: int) -> int:
        seen = 0

        def notice(*_: object) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(notice)
        try:
            codec.decode(RelayResponse, piece * count)
        finally:
            sys.setprofile(None)
        return seen

    assert calls(2000) < 2.1 * calls(1000)
