"""The statuses that this library ends calls with by itself.

An application maps its own exceptions with a `StatusOf`; anything that it does not map is a
defect, of which the client gets a fixed text and the log the whole story.
"""

from collections.abc import Callable

from grpclib import GRPCError, Status
from h2.exceptions import ProtocolError

from hosting.metadata import RETRY_AFTER
from hosting.rate_limits import milliseconds

StreamClosed = ProtocolError
"""h2's error for anything sent on a stream or connection that is closed."""

StatusOf = Callable[[Exception], GRPCError | None]
"""Maps an application's exception to the error that ends the call; `None` for a defect."""


def no_status(_: Exception) -> GRPCError | None:
    """Maps nothing: each exception is a defect."""
    return None


def invalid_argument(path: str, rule: str) -> GRPCError:
    """Returns INVALID_ARGUMENT, with a text that names the field and the rule it breaks."""
    return GRPCError(Status.INVALID_ARGUMENT, f"{path}: {rule}")


def retry_later(text: str, seconds: float) -> GRPCError:
    """Returns RESOURCE_EXHAUSTED, whose details (trailing metadata) say when to try again."""
    return GRPCError(Status.RESOURCE_EXHAUSTED, text, {RETRY_AFTER: str(milliseconds(seconds))})


def deadline_exceeded() -> GRPCError:
    """Returns DEADLINE_EXCEEDED.

    A new error each time: it keeps the frames of every `raise` of it, and the objects in them.
    """
    return GRPCError(Status.DEADLINE_EXCEEDED, "the deadline has passed")
