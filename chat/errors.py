"""The errors that a client may see.

::

    ChatError                 an answer that a client may see
    ├── InvalidArgument       the request breaks a rule; names the field
    ├── NotFound              no such user or message
    ├── FailedPrecondition    the state of a message or room does not allow it
    ├── Unauthenticated       the caller has no valid token
    ├── PermissionDenied      the caller may not do this; names the field
    ├── ResourceExhausted     a limit was reached
    │   ├── RateLimited       too often; says when to try again
    │   └── SlowConsumer      the client does not read
    ├── Unavailable           not now; the same request may succeed later
    │   ├── Draining          the server is about to stop
    │   └── StorageFailed     the message, or the change, could not be stored
    └── Internal              a defect

Anything else that a handler raises is a defect: the client gets the fixed text of
`Internal`, the log gets the whole story.
"""

from typing import ClassVar

from gen.chat import Error, ErrorCode
from hosting.faults import INTERNAL_TEXT
from hosting.rate_limits import milliseconds


class ChatError(Exception):
    """A refusal that its text explains to the client.

    Attributes:
        code: the name of its gRPC status.
        retryable: whether the same request may succeed later.
    """

    code: ClassVar[str]
    retryable: ClassVar[bool] = False

    def to_message(self) -> Error:
        """The error as a message on a stream that goes on."""
        code = ErrorCode.from_string(self.code)
        return Error(code=code, message=str(self), retryable=self.retryable)


class InvalidArgument(ChatError):
    """The request breaks a rule.

    Args:
        path: the field, as the client would write it: ``chat_message.room_id``.
    """

    code = "INVALID_ARGUMENT"

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path}: {rule}")


class NotFound(ChatError):
    """The thing asked for does not exist."""

    code = "NOT_FOUND"


class FailedPrecondition(ChatError):
    """The state of what the request is about does not allow it; the text names the field."""

    code = "FAILED_PRECONDITION"


class Unauthenticated(ChatError):
    """The caller has no valid token or certificate."""

    code = "UNAUTHENTICATED"


class PermissionDenied(ChatError):
    """The caller may not do this.

    Args:
        path: the field, as the client would write it.
        reason: the permission that is missing.
    """

    code = "PERMISSION_DENIED"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class ResourceExhausted(ChatError):
    """A limit was reached."""

    code = "RESOURCE_EXHAUSTED"


class RateLimited(ResourceExhausted):
    """The caller asks too often.

    Args:
        wait: the seconds after which to try again.
    """

    retryable = True

    def __init__(self, text: str, wait: float) -> None:
        super().__init__(text)
        self.wait = wait

    def to_message(self) -> Error:
        """The error as a message on a stream that goes on."""
        error = super().to_message()
        error.retry_after_ms = milliseconds(self.wait)
        return error


class SlowConsumer(ResourceExhausted):
    """The client does not read, and was cut off."""

    def __init__(self) -> None:
        super().__init__("slow consumer: too much was waiting to be read")


class Unavailable(ChatError):
    """Not now; the same request may succeed later."""

    code = "UNAVAILABLE"
    retryable = True


class Draining(Unavailable):
    """The server is about to stop."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class StorageFailed(Unavailable):
    """Something could not be stored; nothing of it was kept.

    Args:
        what: the thing.
    """

    def __init__(self, what: str = "message") -> None:
        super().__init__(f"the {what} could not be stored")


class Internal(ChatError):
    """A defect; the details are in the log."""

    code = "INTERNAL"

    def __init__(self) -> None:
        super().__init__(INTERNAL_TEXT)
