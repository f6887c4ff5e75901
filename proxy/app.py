"""Wiring, start and graceful stop."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final, cast

from aiohttp import web

from hosting.addresses import address_text
from hosting.logs import get_logger
from hosting.telemetry.endpoint import serve_metrics
from hosting.tls import Tls, kept_fresh
from proxy.clients.context import Context
from proxy.config import Config
from proxy.core.call_table import calls_of_schema
from proxy.core.outbox import Outbox
from proxy.core.outlet import Paces
from proxy.core.switchboard import Switchboard
from proxy.http.listener import Listener
from proxy.http.routes import IS_READY, STATUS_URL, UPSTREAM, WEBSOCKETS, add_routes
from proxy.http.websocket import WebSockets
from proxy.metrics import ProxyMetrics
from proxy.report import Report
from proxy.upstream.link import Link
from proxy.upstream.relayed import RelayedCalls

log = get_logger(__name__)

_BACKLOG: Final = 1024
# A stop waits so long for requests other than WebSockets, which were drained before;
# aiohttp takes it twice.
_REQUEST_SECONDS: Final = 1.0
_NO_SUCH_FAMILY: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def create_app(config: Config | None = None, paces: Paces | None = None) -> web.Application:
    """Makes the proxy as an aiohttp application, for a runner or a test client.

    It connects to the chat server when it starts, and keeps trying while the
    server is away. The bounds of `proxy.http.listener` are not the application's: `serve`
    has them.

    Args:
        config: the settings; `host`, `port`, `connections` and `handshake_seconds`
            are the runner's to use.
        paces: how often people are told of.
    """
    return _application(config or Config(), ProxyMetrics(), paces)


def _application(
    config: Config, metrics: ProxyMetrics, paces: Paces | None = None
) -> web.Application:
    app = web.Application()

    async def running(app: web.Application) -> AsyncIterator[None]:
        wanted = config.upstream_tls
        tls = None if wanted is None else Tls.client(wanted).for_http2()
        switchboard = Switchboard(config, Outbox(), metrics, paces)
        link = Link(config, switchboard, tls, metrics)
        calls = RelayedCalls(link.calls, switchboard, metrics)
        websockets = WebSockets(
            Context(config, switchboard, calls.make, calls_of_schema(), metrics)
        )
        app[IS_READY], app[WEBSOCKETS] = link.is_ready, websockets
        # One alone goes without saying.
        app[UPSTREAM] = lambda: link.upstream if len(link.upstreams) > 1 else ""
        metrics_port = serve_metrics(
            config.metrics_host,
            config.metrics_port,
            lambda: Report(metrics, websockets, switchboard, config.hold_bytes, link),
        )
        async with metrics_port as status_url, kept_fresh(tls):
            app[STATUS_URL] = status_url
            tasks = (
                asyncio.create_task(link.run(), name="upstream"),
                asyncio.create_task(websockets.keep_alive(), name="keep-alive"),
            )
            for task in tasks:
                task.add_done_callback(_report)
            yield
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def drain(app: web.Application) -> None:
        await app[WEBSOCKETS].drain()

    app.cleanup_ctx.append(running)
    app.on_shutdown.append(drain)
    add_routes(app)
    return app


class RunningProxy:
    """A proxy that accepts connections.

    Attributes:
        host: the address it listens on.
        port: the TCP port it listens on.
        scheme: ``http`` or ``https``.
        status_url: the address of the status page; empty if it has none.
    """

    def __init__(self, host: str, port: int, scheme: str = "http", status_url: str = "") -> None:
        self.status_url = status_url
        self.host = host
        self.port = port
        self.scheme = scheme

    @property
    def url(self) -> str:
        """The address of the page; with ``ws`` for ``http``, of the WebSocket."""
        return f"{self.scheme}://{address_text(self.host, self.port)}/"


@asynccontextmanager
async def serve(
    config: Config | None = None, paces: Paces | None = None
) -> AsyncIterator[RunningProxy]:
    """Runs a proxy in this event loop while the context is open.

    Args:
        config: the settings; ``Config(host="127.0.0.1", port=0, upstream=...)``
            takes a free port on loopback.
        paces: how often people are told of.

    Yields:
        The proxy, ready to serve. It is drained when the context is left.

    Raises:
        OSError: the address cannot be listened on.
        hosting.telemetry.endpoint.UnusableMetricsPort: the port of metrics cannot be listened on.
        hosting.tls.UnusableCertificate: a certificate cannot be used.
    """
    config = config or Config()
    tls = Tls.server(config.tls) if config.tls else None
    # First of all, so that what cannot listen has not begun to do anything.
    sockets = await _bind(config.host, config.port)
    metrics = ProxyMetrics()
    app = _application(config, metrics, paces)
    runner = web.AppRunner(app, shutdown_timeout=_REQUEST_SECONDS)
    servers: list[asyncio.Server] = []
    try:
        await runner.setup()
        listener = Listener(cast(web.Server, runner.server), config, metrics)
        servers += await _listen(listener, sockets, tls)
        scheme = "https" if tls else "http"
        async with kept_fresh(tls):
            port = sockets[0].getsockname()[1]
            yield RunningProxy(config.host, port, scheme, app[STATUS_URL])
    finally:
        for server in servers:
            server.close()
        await runner.cleanup()
        for each in sockets:
            each.close()


async def _listen(
    listener: Listener, sockets: list[socket.socket], tls: Tls | None
) -> list[asyncio.Server]:
    create = partial(asyncio.get_running_loop().create_server, listener, backlog=_BACKLOG)
    if tls is not None:
        patience = listener.config.handshake_seconds
        create = partial(create, ssl=tls.context, ssl_handshake_timeout=patience)
    return [await create(sock=each) for each in sockets]


async def _bind(host: str, port: int) -> list[socket.socket]:
    """Opens a socket for each address of a host, all on the same port.

    An address of a family that this machine does not have is left out, such as
    ``::1`` of ``localhost`` where there is no IPv6.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    with ExitStack() as opened:
        for family, _, _, _, (address, _, *rest) in dict.fromkeys(found):
            try:
                each = socket.create_server((address, port, *rest), family=family)
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error
                continue
            sockets.append(opened.enter_context(each))
            port = each.getsockname()[1]
        if not sockets:
            raise missing or OSError(f"{host} has no address")
        opened.pop_all()
    return sockets


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("task failed", task=task.get_name(), exc_info=error)
