"""Error frames and close codes.

Two tables, and no others: `proxy.upstream.status` turns the status of a call into an
error frame, which says whether a retry helps; `CloseCode` lists the reasons to close a
connection, and says whether to connect again.
"""

from enum import IntEnum
from typing import Final

from gen.chat import Error, ErrorCode
from hosting.faults import INTERNAL_TEXT
from hosting.rate_limits import milliseconds


class CloseCode(IntEnum):
    """Why a connection is closed.

    RFC 6455, section 7.4, names those below 4000. Of the others, 4000 to 4499
    mean "connect again", 4500 to 4999 "do not".
    """

    GOING_AWAY = 1001
    """The proxy is about to stop. Connect again, perhaps to another one."""

    MESSAGE_TOO_BIG = 1009
    """A frame was so large that it was not even read. Do not send it again."""

    SLOW_CONSUMER = 4008
    """More waited for the client than may. Connect again, and resume."""

    TOKEN_EXPIRED = 4010
    """The token has expired. Connect again with a fresh one, and resume."""

    TOO_MANY_REQUESTS = 4029
    """The client went on although it was told to wait. Connect again, and wait when told."""

    UNAVAILABLE = 4014
    """The chat server could not be asked whether the token is good. Connect again."""

    BAD_TOKEN = 4501
    """There was no token, or it is not believed. Do not connect again with the same."""


# The registry of RFC 6455, section 7.4.1, without 1004, which is reserved.
_KNOWN_CODES: Final = frozenset((*map(int, CloseCode), *range(1000, 1004), *range(1005, 1015)))


def close_label(code: int) -> str:
    """A close code as a label of metrics; "other" for those without a meaning: clients send any."""
    return str(code) if code in _KNOWN_CODES else "other"


class Refused(Exception):
    """A request was refused.

    Attributes:
        error: the error for the client.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


def invalid(text: str) -> Error:
    """A frame breaks a rule; the text names the field."""
    return Error(code=ErrorCode(ErrorCode.INVALID_ARGUMENT), message=text)


def exhausted(text: str) -> Error:
    """A limit was reached that a retry does not lift."""
    return Error(code=ErrorCode(ErrorCode.RESOURCE_EXHAUSTED), message=text)


def limited(text: str, wait: float) -> Error:
    """The client makes requests too often.

    Args:
        text: the limit that was passed.
        wait: the seconds after which to try again.
    """
    return Error(
        code=ErrorCode(ErrorCode.RESOURCE_EXHAUSTED),
        message=text,
        retryable=True,
        retry_after_ms=milliseconds(wait),
    )


def precondition(text: str) -> Error:
    """The state of the client does not allow this; the text names the field."""
    return Error(code=ErrorCode(ErrorCode.FAILED_PRECONDITION), message=text)


def denied(text: str) -> Error:
    """The client may not do this; the text names the field."""
    return Error(code=ErrorCode(ErrorCode.PERMISSION_DENIED), message=text)


def unauthenticated(text: str = "a token is required") -> Error:
    """The client has no token, or one that is not believed."""
    return Error(code=ErrorCode(ErrorCode.UNAUTHENTICATED), message=text)


def unavailable(text: str = "the chat server cannot be reached") -> Error:
    """Not now; the same request may succeed later."""
    return Error(code=ErrorCode(ErrorCode.UNAVAILABLE), message=text, retryable=True)


def internal() -> Error:
    """A defect; the details are in the log."""
    return Error(code=ErrorCode(ErrorCode.INTERNAL), message=INTERNAL_TEXT)
