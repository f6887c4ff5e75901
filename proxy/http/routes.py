"""The routes.

==================  =====================================================
``GET /``           the web client, or a chat connection if it asks for an
                    upgrade to WebSocket
``GET /static/*``   the parts of the web client, and the files they are made of
``GET /healthz``    200 while the process is alive
``GET /readyz``     200 while the chat server answers, and stores, else 503
==================  =====================================================
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from proxy.http import security_headers
from proxy.http.listener import HttpConnection
from proxy.http.page import PageHandlers
from proxy.http.websocket import WebSockets
from proxy.page.source import PageSource

WEBSOCKETS: Final = web.AppKey("websockets", WebSockets)
# Tells whether the chat server answers.
IS_READY: Final = web.AppKey[Callable[[], Awaitable[bool]]]("is_ready")
# The chat server that the link goes to, of several; else empty.
UPSTREAM: Final = web.AppKey[Callable[[], str]]("upstream")
# The address of the status page; empty if there is none.
STATUS_URL: Final = web.AppKey("status_url", str)

PAGE: Final = web.AppKey("page", PageHandlers)


def add_routes(app: web.Application) -> None:
    """Adds the routes to an application.

    Raises:
        proxy.page.modules.UnusablePage: the page cannot be prepared.
    """
    app[PAGE] = PageHandlers(PageSource())
    app.router.add_get("/", _root)
    app.router.add_get("/healthz", _alive)
    app.router.add_get("/readyz", _ready)
    app.router.add_get("/static/{name:.+}", _below)
    app.on_response_prepare.append(_answering)
    app.on_response_prepare.append(_add_headers)


async def _root(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await request.app[WEBSOCKETS].handle(request)
    return await request.app[PAGE].document(request)


async def _below(request: web.Request) -> web.StreamResponse:
    return await request.app[PAGE].below(request)


async def _answering(request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(request.protocol, HttpConnection):
        request.protocol.answered()
    # A browser asks each time whether its copy is still good: after an upgrade no
    # part of the page is older than the others.
    response.headers.setdefault("Cache-Control", "no-cache")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    proxies = request.app[WEBSOCKETS].admission.proxies
    peer = request.remote or ""
    encrypted = request.secure or proxies.scheme(peer, request.headers) == "https"
    # Other servers on a developer's machine need not speak TLS.
    is_local = request.host.partition(":")[0] == "localhost"
    security_headers.add(response.headers, encrypted=encrypted and not is_local)


async def _alive(_: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _ready(request: web.Request) -> web.Response:
    if await request.app[IS_READY]():
        upstream = request.app[UPSTREAM]()
        told = {"upstream": upstream} if upstream else {}
        return web.json_response({"status": "ready", **told})
    return web.json_response({"status": "upstream unavailable"}, status=503)
