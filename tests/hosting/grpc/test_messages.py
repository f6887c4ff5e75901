"""Counting fields of an encoded message without decoding, against a plain encoder."""

from hypothesis import given
from hypothesis import strategies as st

from hosting.grpc.messages import at_most


def varint(value: int) -> bytes:
    """Encodes a number as a Protocol Buffers varint."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def with_tag(number: int, wire_type: int, payload: bytes) -> bytes:
    return varint(number << 3 | wire_type) + payload


numbers = st.integers(1, 2**29 - 1)
fields = st.one_of(
    st.builds(with_tag, numbers, st.just(0), st.integers(0, 2**64 - 1).map(varint)),
    st.builds(with_tag, numbers, st.just(1), st.binary(min_size=8, max_size=8)),
    st.builds(
        with_tag, numbers, st.just(2), st.binary(max_size=200).map(lambda b: varint(len(b)) + b)
    ),
    st.builds(with_tag, numbers, st.just(5), st.binary(min_size=4, max_size=4)),
)


@given(st.lists(fields, max_size=50), st.integers(0, 50))
def test_at_most_counts_fields(message: list[bytes], most: int) -> None:
    assert at_most(most, b"".join(message)) is (len(message) <= most)


@given(st.binary(max_size=300), st.integers(0, 20))
def test_at_most_ends_with_any_bytes(data: bytes, most: int) -> None:
    assert at_most(most, data) in (True, False)
