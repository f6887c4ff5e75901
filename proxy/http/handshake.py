"""The request that opens a WebSocket (RFC 6455, section 4.2.1): what aiohttp would let pass.

aiohttp takes other methods and versions, and the first of several lines of a header.
"""

from __future__ import annotations

from typing import Final

from aiohttp import HttpVersion11, hdrs, web

VERSION: Final = "13"
_REFUSED: Final = "this is no handshake of a WebSocket\n"


def checked(request: web.Request) -> web.Request:
    """Checks a handshake before anything is done for it.

    Returns:
        The request, in which several lines of subprotocols are one (section 11.3.4).

    Raises:
        aiohttp.web.HTTPMethodNotAllowed: it is no GET.
        aiohttp.web.HTTPUpgradeRequired: it speaks another version (section 4.4).
        aiohttp.web.HTTPBadRequest: it is none.
    """
    if request.method != hdrs.METH_GET:
        raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_GET])
    versions = request.headers.getall(hdrs.SEC_WEBSOCKET_VERSION, [])
    keys = request.headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    if request.version < HttpVersion11 or len(versions) != 1 or len(keys) != 1:
        raise refusal()
    if versions[0].strip() != VERSION:
        raise _other_version()
    offers = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
    if len(offers) < 2:
        return request
    headers = request.headers.copy()
    headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = ", ".join(offers)
    return request.clone(headers=headers)


def refusal() -> web.HTTPBadRequest:
    """What a request is answered with that is no handshake; it names the version."""
    refused = web.HTTPBadRequest(text=_REFUSED, headers={hdrs.SEC_WEBSOCKET_VERSION: VERSION})
    refused.force_close()
    return refused


def _other_version() -> web.HTTPUpgradeRequired:
    # RFC 9110, sections 7.8 and 15.5.22.
    headers = {
        hdrs.SEC_WEBSOCKET_VERSION: VERSION,
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "upgrade, close",
    }
    refused = web.HTTPUpgradeRequired(text=_REFUSED, headers=headers)
    refused.force_close()
    return refused
