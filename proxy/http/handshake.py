"""The request that opens a WebSocket (RFC 6455, section 4.2.1), and its refusals in HTTP.

aiohttp lets other methods and versions pass, and takes the first of several lines of a header.

======  =================================================================================
status  refusal
======  =================================================================================
400     it is no handshake, or the token is not where or what it should be
403     a page of another origin opens it
405     it is no GET
426     it speaks another version (section 4.4); the answer names the one that is spoken
429     its address opens too many; the answer says when to try again
======  =================================================================================
"""

from math import ceil
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from proxy.access import bearer
from proxy.access.admission import NotAdmitted, TooManyFromAddress

VERSION: Final = "13"
_REFUSED: Final = "this is no handshake of a WebSocket\n"


def checked(request: web.Request) -> web.Request:
    """Checks a handshake before anything is done for it.

    Returns:
        The request, in which several lines of subprotocols are one (section 11.3.4).

    Raises:
        aiohttp.web.HTTPException: status 400, 405 or 426.
    """
    if request.method != hdrs.METH_GET:
        raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_GET])
    versions = request.headers.getall(hdrs.SEC_WEBSOCKET_VERSION, [])
    keys = request.headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    if request.version < HttpVersion11 or len(versions) != 1 or len(keys) != 1:
        raise _refusal()
    if versions[0].strip() != VERSION:
        raise _other_version()
    offers = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])
    if len(offers) < 2:
        return request
    headers = request.headers.copy()
    headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = ", ".join(offers)
    return request.clone(headers=headers)


def answer_to(refused: NotAdmitted) -> web.HTTPException:
    """Returns the answer to a handshake that is not admitted."""
    text = f"{refused}\n"
    if isinstance(refused, TooManyFromAddress):
        after = {hdrs.RETRY_AFTER: str(ceil(refused.retry_after))}
        return web.HTTPTooManyRequests(text=text, headers=after)
    return web.HTTPForbidden(text=text)


def token_of(request: web.Request, *, required: bool) -> str | None:
    """Returns the client's token, if it has one.

    Raises:
        aiohttp.web.HTTPBadRequest: see `bearer.of_request`.
    """
    try:
        return bearer.of_request(request.headers, required=required)
    except bearer.BadCredentials as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None


async def shake_hands(socket: web.WebSocketResponse, request: web.Request) -> None:
    """Opens a WebSocket.

    Raises:
        aiohttp.web.HTTPBadRequest: the request does not ask for one as section 4.1 says.
    """
    try:
        await socket.prepare(request)
    except (web.HTTPBadRequest, ValueError):
        # aiohttp fails at a key that is not ASCII, and would repeat what it was sent.
        raise _refusal() from None


def _refusal() -> web.HTTPBadRequest:
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
