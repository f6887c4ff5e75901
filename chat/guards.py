"""What a call may do: its headers are checked, and its messages are bounded.

- A request that is malformed is refused before a handler is begun for it.
- A message that is too large or cut short is not waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from grpclib import GRPCError, Status
from grpclib.metadata import decode_metadata

from chat.errors import InvalidArgument
from daemon.streams import ByteBuffer

_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

# Wire types (Protocol Buffers, Encoding): what stands behind a field's number.
_VARINT: Final = 0
_LEN: Final = 2
_FIXED: Final = {1: 8, 5: 4}
_LONGEST_VARINT: Final = 10
_SHORTEST: Final = 2  # a number and a size of 0

Headers = Sequence[tuple[str, str]]


def is_malformed(headers: Headers) -> bool:
    """Whether a request has not exactly one method and one path (RFC 9113, section 8.3.1)."""
    names = [name for name, _ in headers if name in (":method", ":path")]
    return sorted(names) != [":method", ":path"]


def checked_timeout(headers: Headers) -> float | None:
    """Checks what grpclib reads of a request's headers.

    Args:
        headers: the headers of a request.

    Returns:
        How long the call may take, in seconds, or nothing if it has no deadline.

    Raises:
        GRPCError: INVALID_ARGUMENT, with a text that names the header.
    """
    try:
        decode_metadata(headers)
    except ValueError:
        raise InvalidArgument("metadata", "a binary value is not base64").to_grpc() from None
    timeouts = [_seconds(value) for name, value in headers if name == "grpc-timeout"]
    return min(timeouts, default=None)


def _seconds(timeout: str) -> float:
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise InvalidArgument("grpc-timeout", "is malformed").to_grpc()
    return int(match[1]) * _UNITS[match[2]]


def too_late() -> GRPCError:
    """The error of a call whose time was up before it came.

    A new one each time: an error keeps the frames of every `raise` of it, and what is in them.
    """
    return GRPCError(Status.DEADLINE_EXCEEDED, "the deadline has passed")


def at_most(number: int, message: bytes) -> bool:
    """Whether an encoded message has at most so many fields, one for each occurrence.

    It looks at no more than that many. What is not a message counts as one with few.
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
    """Refuses to wait for a message that is too large, and one that is cut short.

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
            GRPCError: the message is too large or cut short.
        """
        if size > self._limit:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"the message is larger than {self._limit} bytes"
            )
        data = await super().read(size)
        if len(data) < size and not self._may_be_empty:
            raise self.cut_short()
        return data

    def cut_short(self) -> GRPCError:
        """The error of a message that ends before it is whole."""
        return InvalidArgument("message", "is missing or cut short").to_grpc()
