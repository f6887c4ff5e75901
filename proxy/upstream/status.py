"""The status of a unary call, as an error frame that says whether a retry helps."""

import re
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

_NAMING_A_FIELD: Final = frozenset({Status.INVALID_ARGUMENT, Status.PERMISSION_DENIED})

_MILLISECONDS: Final = re.compile("[0-9]{1,9}")


def from_grpc(error: GRPCError, field: str, retry_after: str | None = None) -> Error:
    """Turns the status of a unary call into an error.

    Args:
        error: the status. For `_NAMING_A_FIELD`, its text begins with a path in the request.
        field: the field of the frame that holds the request.
        retry_after: the milliseconds after which to try again, if the server says so.
    """
    text = error.message or error.status.name
    if error.status in _NAMING_A_FIELD:
        text = f"{field}.{text}"
    told = Error(
        code=ErrorCode(error.status.value), message=text, retryable=error.status in _RETRYABLE
    )
    if retry_after is not None and _MILLISECONDS.fullmatch(retry_after):
        told.retryable, told.retry_after_ms = True, int(retry_after)
    return told
