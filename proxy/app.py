"""Wiring, start and graceful stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web

from proxy.calls import calls_of_schema
from proxy.config import Config
from proxy.routes import CONNECTIONS, UPSTREAM, add_routes
from proxy.upstream import Upstream
from proxy.websocket import Connections

log = structlog.get_logger(__name__)


def create_app(config: Config | None = None) -> web.Application:
    """Makes the proxy as an aiohttp application, for a runner or a test client.

    It connects to the chat server when it starts, and keeps trying while the
    server is away.

    Args:
        config: the settings; `host` and `port` are the runner's to use.
    """
    config = config or Config()
    app = web.Application()

    async def running(app: web.Application) -> AsyncIterator[None]:
        upstream = Upstream(config)
        connections = Connections(config, upstream, calls_of_schema())
        app[UPSTREAM], app[CONNECTIONS] = upstream, connections
        task = asyncio.create_task(upstream.run(), name="upstream")
        task.add_done_callback(_report)
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def drain(app: web.Application) -> None:
        await app[CONNECTIONS].drain()

    app.cleanup_ctx.append(running)
    app.on_shutdown.append(drain)
    add_routes(app)
    return app


class RunningProxy:
    """A proxy that accepts connections.

    Attributes:
        host: the address it listens on.
        port: the TCP port it listens on.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        """The address of the page; with ``ws`` for ``http``, of the WebSocket."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"


@asynccontextmanager
async def serve(config: Config | None = None) -> AsyncIterator[RunningProxy]:
    """Runs a proxy in this event loop while the context is open.

    Args:
        config: the settings; ``Config(host="127.0.0.1", port=0, upstream=...)``
            takes a free port on loopback.

    Yields:
        The proxy, ready to serve. It is drained when the context is left.

    Raises:
        OSError: the address cannot be listened on.
    """
    config = config or Config()
    runner = web.AppRunner(
        create_app(config), access_log=None, shutdown_timeout=config.drain_seconds
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
        port = runner.addresses[0][1]
        yield RunningProxy(config.host, port)
    finally:
        await runner.cleanup()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("upstream task failed", exc_info=error)
