"""Names that proxy and server exchange beside the schema, and the ids of requests.

The ids tie together what both processes log of the same request. They are bound to the context
of a task (`structlog.contextvars`), so that each line logged in it has them. A proxy passes them
on in the metadata of its calls:

===================  ================  ================================================
in a line            in metadata       meaning
===================  ================  ================================================
``connection``       chat-connection   the proxy's id of a WebSocket connection
``request_id``       chat-request      the client's id of a frame
===================  ================  ================================================

A caller may send any values: they are for readers of logs, and decide nothing.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final
from urllib.parse import quote, unquote

from structlog.contextvars import bound_contextvars, get_contextvars

RELAY: Final = "/chat.RelayService/Relay"
"""The path of the call by which a proxy is linked to the server."""

TOKENS: Final = "chat-tokens"
"""In the answer to that call: `TOKENS_REQUIRED` where callers must present tokens."""

TOKENS_REQUIRED: Final = "required"

ANSWERS: Final = "chat-answers"
"""With that call: `ANSWERS_SHARED` from a proxy that takes one answer for several changes."""

ANSWERS_SHARED: Final = "shared"

RETRY_AFTER: Final = "retry-after-ms"
"""In trailing metadata: when a refused request may be sent again, in milliseconds."""

_NAMES: Final = {"connection": "chat-connection", "request_id": "chat-request"}
# The longest in a log, in characters; clients may send any length.
_LONGEST: Final = 64
# A character has up to four bytes, and each of them takes three characters.
_LONGEST_QUOTED: Final = _LONGEST * 4 * 3


def of_request(request_id: str | None) -> AbstractContextManager[Any]:
    """Binds a request id while the context is open, if there is one."""
    if request_id is None:
        return nullcontext()
    return bound_contextvars(request_id=shortened(request_id))


def shortened(text: str) -> str:
    """The beginning of a client's text, as it is logged."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def to_metadata() -> dict[str, str]:
    """The ids of this context, for a call to the server; percent-encoded (RFC 3986).

    An empty one is left out: grpclib sends no empty value.
    """
    bound = get_contextvars()
    return {
        key: quote(str(bound[name]), safe="", errors="replace")
        for name, key in _NAMES.items()
        if bound.get(name)
    }


def from_metadata(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """The ids that a caller passed on, by their names in a line."""
    if not metadata:
        return {}
    return {
        name: shortened(unquote(str(metadata[key])[:_LONGEST_QUOTED]))
        for name, key in _NAMES.items()
        if key in metadata
    }
