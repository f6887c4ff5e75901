"""Turns a fuzzer's bytes into choices."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Bytes, consumed from the front; past the end they are zeros.

    Args:
        data: the fuzzer's input.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """Returns the next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, end: int) -> int:
        """Returns a number from 0 to below `end`, which is at most 256."""
        return self.byte() % end

    def of(self, values: Sequence[T]) -> T:
        """Returns one of the values."""
        return values[self.below(len(values))]

    def piece(self) -> bytes:
        """Returns bytes that are preceded by their 16-bit length."""
        size = self.byte() << 8 | self.byte()
        start = self._at
        self._at += size
        return self._data[start : self._at]

    def rest(self) -> bytes:
        """Returns the remaining bytes."""
        start, self._at = self._at, len(self._data)
        return self._data[start:]

    def pieces(self) -> Iterator[bytes]:
        """Yields the pieces until no bytes are left."""
        while self:
            yield self.piece()


def pieced(pieces: Sequence[bytes]) -> bytes:
    """Joins pieces for `Choices.pieces`."""
    return b"".join(len(piece).to_bytes(2, "big") + piece for piece in pieces)
