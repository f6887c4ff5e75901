"""Where a client of the proxy puts its token.

In the `Authorization` header (RFC 6750, section 2.1); or, from a browser, which cannot set
one, as a subprotocol beside the one of this service (RFC 6455, section 1.9)::

    new WebSocket(url, ["chat", "bearer." + token])

Never in the address, which ends up in logs and histories.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

PROTOCOL: Final = "chat"
_SCHEME: Final = "bearer"
_OFFER: Final = "bearer."


def of_request(headers: Mapping[str, str], *, required: bool) -> str | None:
    """Finds the token of a handshake.

    Args:
        headers: those of the request.
        required: whether there has to be one. If not, credentials of another scheme are
            for somebody else: a proxy in front asks for a password, and passes it on.

    Returns:
        The token; `None` if there is none.

    Raises:
        aiohttp.web.HTTPBadRequest: it is not where or what it should be.
    """
    scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    offers = [each.strip() for each in headers.get("Sec-WebSocket-Protocol", "").split(",")]
    offered = [each[len(_OFFER) :] for each in offers if each.startswith(_OFFER)]
    if offered and PROTOCOL not in offers:
        raise web.HTTPBadRequest(text=f"offer the subprotocol {PROTOCOL} beside the token\n")
    is_bearer = scheme.lower() == _SCHEME
    if scheme and required and not is_bearer:
        raise web.HTTPBadRequest(text="Authorization must be a bearer token\n")
    found = [*([token.strip()] if is_bearer else []), *offered]
    if len(found) > 1:
        raise web.HTTPBadRequest(text="present one token\n")
    return found[0] if found else None
