"""The messages of a call, bounded before they are buffered."""

from collections.abc import Callable
from typing import Final

from grpclib import GRPCError, Status

from hosting.grpc.errors import invalid_argument
from hosting.grpc.streams import ByteBuffer

# Wire types (Protocol Buffers, Encoding): the form of a value behind its field number.
_VARINT: Final = 0
_LEN: Final = 2
_FIXED: Final = {1: 8, 5: 4}
_LONGEST_VARINT: Final = 10
_SHORTEST: Final = 2  # a number and a size of 0


def at_most(number: int, message: bytes) -> bool:
    """Returns whether an encoded message has at most so many fields, one for each occurrence.

    It looks at no more than that many. Malformed bytes count as a message with few.
    """
    if len(message) <= number * _SHORTEST:
        return True
    at, seen = 0, 0
    while at < len(message) and seen <= number:
        kind, at = _varint(message, at)
        seen += 1
        if kind & 7 == _LEN:
            size, at = _varint(message, at)
            at += size
        elif kind & 7 == _VARINT:
            _, at = _varint(message, at)
        elif kind & 7 in _FIXED:
            at += _FIXED[kind & 7]
        else:
            break
    return seen <= number


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Reads a number; returns it and where the next thing begins."""
    value = 0
    for nth, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * nth
        if byte < 0x80:
            return value, at + nth + 1
    return 0, len(message)


class MessageBuffer(ByteBuffer):
    """Refuses to wait for a message that is too large, compressed or cut short.

    Args:
        ack: opens the window by so many bytes.
        limit: the size of the largest message.
        may_be_empty: whether a client may end the stream without a message.
    """

    def __init__(self, ack: Callable[[int], None], limit: int, *, may_be_empty: bool) -> None:
        super().__init__(ack)
        self._limit = limit
        self._may_be_empty = may_be_empty

    async def read(self, size: int) -> bytes:
        """Returns the next bytes of the stream; none at its end.

        Raises:
            GRPCError: the message is too large, compressed or cut short.
        """
        if size > self._limit:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"the message is larger than {self._limit} bytes"
            )
        data = await super().read(size)
        if len(data) < size and not self._may_be_empty:
            raise self.cut_short()
        # grpclib's error for it cannot be told from one of a handler that is not written yet.
        if self._in_message and data and data[0]:
            raise GRPCError(Status.UNIMPLEMENTED, "compression is not supported")
        return data

    def cut_short(self) -> GRPCError:
        """The error of a message that ends before it is whole."""
        return invalid_argument("message", "is missing or cut short")
