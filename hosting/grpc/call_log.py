"""Log lines and traces of calls; never their contents."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any, Final

from grpclib import GRPCError
from grpclib.exceptions import StreamTerminatedError
from grpclib.server import Stream
from structlog.contextvars import bind_contextvars

from hosting.addresses import address_text
from hosting.logs import get_logger
from hosting.metadata import from_metadata
from hosting.tracing import spans

log = get_logger(__name__)

# The server's failures, not the caller's.
_FAILURES: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)

_numbers = count(1)


@dataclass(slots=True)
class Ending:
    """How a call ends.

    Attributes:
        status: the name of its status, once it has ended.
        is_late: whether it is cancelled because its deadline has passed.
    """

    status: str = "OK"
    is_late: bool = False


@contextmanager
def observed(
    method: str, stream: Stream[Any, Any], ending: Ending, *, is_traced: bool
) -> Iterator[None]:
    """Binds the ids of a call to its task, traces it, and tells of its end.

    Args:
        method: its path.
        stream: the call.
        ending: gets its status.
        is_traced: whether it gets a span.
    """
    bind_contextvars(
        call=next(_numbers),
        method=method,
        peer=address(stream.peer.addr()),
        **from_metadata(stream.metadata),
    )
    began = monotonic()
    with _span(method, stream) if is_traced else nullcontext(spans.NO_SPAN) as span:
        try:
            yield
        except BaseException as error:
            ending.status = _status(error, is_late=ending.is_late)
            raise
        finally:
            span.note({"rpc.response.status_code": ending.status})
            if ending.status in _FAILURES:
                span.fail(ending.status)
            seconds = round(monotonic() - began, 6)
            log.debug("call ended", status=ending.status, seconds=seconds)


def address(peer: Any) -> str:
    """An address of a socket as one text; an IPv6 address stands in brackets."""
    if not isinstance(peer, tuple):
        return str(peer or "unknown")
    host, port, *_ = peer
    return address_text(host, port)


def _span(method: str, stream: Stream[Any, Any]) -> AbstractContextManager[spans.Span]:
    name = method.strip("/")
    metadata: Any = stream.metadata or {}
    return spans.span(name, "server", metadata, {"rpc.system.name": "grpc", "rpc.method": name})


def _status(error: BaseException, *, is_late: bool) -> str:
    match error:
        case GRPCError():
            return error.status.name
        case asyncio.CancelledError() if is_late:
            return "DEADLINE_EXCEEDED"
        case asyncio.CancelledError() | StreamTerminatedError():
            return "CANCELLED"
    return "UNKNOWN"
