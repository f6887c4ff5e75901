"""The port for operators: metrics for Prometheus, and a status page for a person.

====================  =====================================================
``GET /``             the status page
``GET /metrics``      the metrics, as Prometheus and OpenMetrics write them
``GET /status.json``  the data of the status page
``GET /healthz``      200 while the process is alive
====================  =====================================================

The page shows names of rooms. So the port is a separate one, on loopback unless an
operator says otherwise; and on loopback it answers only to names of this machine, so that
no page of another origin reads it by a name of its own that leads here (DNS rebinding).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from hosting.addresses import address_text, is_loopback, reason
from hosting.logs import get_logger
from hosting.telemetry.status import PERIOD_SECONDS, Source, Status

log = get_logger(__name__)

STATIC: Final = Path(__file__).parent / "static"

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# The longest time for a request, and for an idle connection; the default of aiohttp is an hour.
_REQUEST_SECONDS: Final = 60.0
# The wait for scrapes that are under way at a stop.
_STOP_SECONDS: Final = 1.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class UnusableMetricsPort(Exception):
    """The port cannot be listened on; the text is one line for an operator."""


@asynccontextmanager
async def serve_metrics(
    host: str, port: int | None, make_source: Callable[[], Source]
) -> AsyncIterator[str]:
    """Serves the port while the context is open.

    Args:
        host: the address to listen on.
        port: the TCP port; 0 takes a free one, `None` serves nothing.
        make_source: makes the source of the figures; called only if the port is served.

    Yields:
        The address of the status page; empty if there is none.

    Raises:
        UnusableMetricsPort: the port cannot be listened on.
    """
    if port is None:
        yield ""
        return
    source = make_source()
    status = Status(source)
    runner = web.AppRunner(
        _app(source, status, host),
        access_log=None,
        shutdown_timeout=_STOP_SECONDS,
        keepalive_timeout=_REQUEST_SECONDS,
    )
    await runner.setup()
    try:
        url = await _listen(runner, host, port)
        log.info("metrics and status page", url=url)
        ticking = asyncio.create_task(_tick(status))
        try:
            yield url
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        text = f"cannot listen on {host}:{port} for metrics: {reason(error)}"
        raise UnusableMetricsPort(text) from error
    address, bound, *_ = runner.addresses[0]
    return f"http://{address_text(address, bound)}/"


async def _tick(status: Status) -> None:
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        try:
            status.tick()
        except Exception:
            # A failing page must stop neither the process nor the rest of the port.
            log.exception("status unreadable")


def _app(source: Source, status: Status, host: str) -> web.Application:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(source)

    async def metrics(request: web.Request) -> web.Response:
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": kind})

    async def report(_: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(status.report()), content_type="application/json")

    middlewares = [_of_this_machine] if is_loopback(host) else []
    app = web.Application(middlewares=middlewares)
    app.router.add_get("/", _page)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/status.json", report)
    app.router.add_get("/healthz", _alive)
    app.router.add_static("/static", STATIC)
    app.on_response_prepare.append(_add_headers)
    return app


@web.middleware
async def _of_this_machine(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        name = request.url.host
    except ValueError:  # no name at all
        name = None
    if name is None or not is_loopback(name):
        raise web.HTTPMisdirectedRequest(text="this port answers to names of this machine only")
    return await handler(request)


async def _page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "index.html")


async def _alive(_: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
