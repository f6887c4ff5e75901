"""What a call may do: its headers are checked, and its messages are bounded.

- A request that is malformed is refused before a handler is begun for it, alone.
- A message that is too large or cut short is not waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from grpclib import GRPCError, Status
from grpclib.metadata import decode_metadata

from chat.errors import InvalidArgument
from hosting.grpc.streams import ByteBuffer

_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

# Wire types (Protocol Buffers, Encoding): what stands behind a field's number.
_VARINT: Final = 0
_LEN: Final = 2
_FIXED: Final = {1: 8, 5: 4}
_LONGEST_VARINT: Final = 10
_SHORTEST: Final = 2  # a number and a size of 0

Headers = Sequence[tuple[str, str]]

_REQUIRED: Final = frozenset({":method", ":scheme", ":path"})
_ALLOWED: Final = _REQUIRED | {":authority"}
# Printable, but no capital; a colon only in front (RFC 9113, section 8.2.1).
_NAME: Final = re.compile(rb":?[!-9;-@\[-~]+")
# Space around a value is let pass: an empty token behind "Bearer " has an answer of its own.
_ILLEGAL: Final = re.compile(rb"[\0\r\n]")
_FORBIDDEN: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)


def is_malformed(headers: Headers) -> bool:
    """Whether the headers of a request are not as they must be (RFC 9113, section 8.3.1).

    It has one method, one scheme and one path that is not empty, perhaps an authority, no
    other pseudo-header, and all of them first.
    """
    pseudo = [name for name, _ in headers if name.startswith(":")]
    first = [name for name, _ in headers[: len(pseudo)]]
    if pseudo != first or len(set(pseudo)) != len(pseudo):
        return True
    return not _REQUIRED <= set(pseudo) <= _ALLOWED or not dict(headers)[":path"]


def has_malformed_field(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a client's header block has a field that must not be (RFC 9113, section 8.2).

    Such are pseudo-headers that no request has, names in upper case or with characters
    that names have not, values with NUL, CR or LF, what concerns HTTP/1.1's connections,
    and a length that is no number.
    """
    for name, value in headers:
        if not _NAME.fullmatch(name) or name in _FORBIDDEN or _ILLEGAL.search(value):
            return True
        if name.startswith(b":") and name.decode() not in _ALLOWED:
            return True
        if name == b"te" and value.lower() != b"trailers":
            return True
        if name == b"content-length" and not value.isdigit():
            return True
    return False


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
