"""The headers of a request, checked before a handler is begun for it."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from grpclib.metadata import decode_metadata

from hosting.grpc.errors import invalid_argument

_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

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
    """Returns whether the headers of a request are malformed (RFC 9113, section 8.3.1).

    A request has one method, one scheme and one path that is not empty, perhaps an
    authority, no other pseudo-header, and all of them first.
    """
    pseudo = [name for name, _ in headers if name.startswith(":")]
    first = [name for name, _ in headers[: len(pseudo)]]
    if pseudo != first or len(set(pseudo)) != len(pseudo):
        return True
    return not _REQUIRED <= set(pseudo) <= _ALLOWED or not dict(headers)[":path"]


def has_malformed_field(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Returns whether a header block has a field that is not allowed (RFC 9113, section 8.2).

    Such are pseudo-headers that no request has, names in upper case or with characters
    that names have not, values with NUL, CR or LF, fields of HTTP/1.1's connections,
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
    """Checks the headers that grpclib would parse, and returns the timeout.

    Args:
        headers: the headers of a request.

    Returns:
        The timeout of the call in seconds; `None` if it has no deadline.

    Raises:
        GRPCError: INVALID_ARGUMENT, with a text that names the header.
    """
    try:
        decode_metadata(headers)
    except ValueError:
        raise invalid_argument("metadata", "a binary value is not base64") from None
    timeouts = [_seconds(value) for name, value in headers if name == "grpc-timeout"]
    return min(timeouts, default=None)


def _seconds(timeout: str) -> float:
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise invalid_argument("grpc-timeout", "is malformed")
    return int(match[1]) * _UNITS[match[2]]
