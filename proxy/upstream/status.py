"""The status of a unary call, as an error frame that says whether a retry helps."""

import re
from dataclasses import replace
from typing import Final

from grpclib import GRPCError, Status

from gen.chat import Error, ErrorCode

# A retry of the same request may succeed. All requests may be repeated safely.
_RETRYABLE: Final = frozenset(
    {
        Status.UNAVAILABLE,
        Status.DEADLINE_EXCEEDED,
        Status.ABORTED,
        Status.CANCELLED,
    }
)

# Their texts begin with a path in the request, or may do so.
_NAMING_A_FIELD: Final = frozenset(
    {int(ErrorCode.INVALID_ARGUMENT), int(ErrorCode.PERMISSION_DENIED)}
)
_PATH: Final = re.compile(r"[a-z][a-z0-9_.\[\]]*: ")

_MILLISECONDS: Final = re.compile("[0-9]{1,9}")


def from_grpc(error: GRPCError, field: str, retry_after: str | None = None) -> Error:
    """Turns the status of a unary call into an error.

    Args:
        error: the status.
        field: the field of the frame that holds the request.
        retry_after: the milliseconds after which to try again, if the server says so.
    """
    told = Error(
        code=ErrorCode(error.status.value),
        message=error.message or error.status.name,
        retryable=error.status in _RETRYABLE,
    )
    told = with_field(told, field)
    if retry_after is not None and _MILLISECONDS.fullmatch(retry_after):
        told.retryable, told.retry_after_ms = True, int(retry_after)
    return told


def with_field(error: Error, field: str) -> Error:
    """Returns an error of a request with the path in the frame, where its text has one."""
    if int(error.code) not in _NAMING_A_FIELD and _PATH.match(error.message) is None:
        return error
    return replace(error, message=f"{field}.{error.message}")
