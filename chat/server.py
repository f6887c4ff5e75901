"""Wiring, start and graceful stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.health.v1 import health_pb2
from grpclib.reflection.service import ServerReflection

import codec
from chat.access.authenticator import Authenticator
from chat.access.keyfile import KeyFile
from chat.access.tokens import TokenVerifier
from chat.api.chat_service import ChatService
from chat.api.context import Context
from chat.api.conversation import Conversation
from chat.api.relay_service import RelayService
from chat.api.settling import settle
from chat.api.status import status_of
from chat.config import IN_MEMORY, Config, is_postgres
from chat.core.hub import Hub
from chat.core.paces import Paces
from chat.core.rules import Rules
from chat.errors import Unavailable
from chat.metrics import ServerMetrics, StoreMetrics
from chat.report import Report
from chat.storage.base import Store, StoreUnusable
from chat.storage.health import State, StoreHealth
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from chat.storage.sqlite import SqliteStore
from hosting.addresses import address_text, is_loopback
from hosting.grpc.handler import MessageLimit
from hosting.grpc.server import GrpcServer
from hosting.logs import get_logger
from hosting.metadata import RELAY
from hosting.telemetry.endpoint import serve_metrics
from hosting.tls import Tls, kept_fresh

if TYPE_CHECKING:
    from grpclib._typing import IServable

log = get_logger(__name__)

_LOOK_AT_KEYS_SECONDS: Final = 1.0
_BATCH_BYTES: Final = 4 * 1024 * 1024
# The rest of a message beside its text: ids, and room for extensions.
_ENVELOPE_BYTES: Final = 48 * 1024


class RunningServer:
    """A server that accepts calls.

    Attributes:
        host: the address it listens on.
        port: the TCP port it listens on.
        status_url: the address of the status page; empty if it has none.
        failed: set when the server cannot go on and has to be stopped.
        failure: why, for a person; empty until then.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: Context,
        grpc: GrpcServer,
        health: ServiceStatus,
        status_url: str = "",
    ) -> None:
        self.failed = asyncio.Event()
        self.failure = ""
        self.host = host
        self.port = port
        self.status_url = status_url
        self._context = context
        self._grpc = grpc
        self._health = health

    @property
    def address(self) -> str:
        """``host:port``, as clients take it; an IPv6 address stands in brackets."""
        return address_text(self.host, self.port)

    async def drain(self) -> None:
        """Stops in order.

        Accepts no more connections, lets calls end, ends live streams with UNAVAILABLE after
        the answers they are owed, then says GOAWAY. After `Config.drain_seconds` the rest is
        cut off.
        """
        self._context.draining.set()
        self._health.set(False)
        self._grpc.stop_listening()
        done = await self._grpc.wait_idle(self._context.config.drain_seconds)
        if not done:
            log.warning("calls cut off", after_seconds=self._context.config.drain_seconds)
        await self._grpc.go_away()

    def follow(self, store: StoreHealth) -> None:
        """Says NOT_SERVING while the store does not take writes, and fails when it never will."""

        def look() -> None:
            self._health.set(store.is_serving and not self._context.draining.is_set())
            if store.state is State.FATAL:
                self.failure = store.reason
                self.failed.set()

        store.watch(look)
        look()


@asynccontextmanager
async def serve(
    config: Config | None = None, paces: Paces | None = None
) -> AsyncIterator[RunningServer]:
    """Runs a chat server in this event loop while the context is open.

    Args:
        config: the settings; ``Config(host="127.0.0.1", port=0)`` takes a free
            port on loopback.
        paces: how often people are told of.

    Yields:
        The server, ready to serve. It is drained when the context is left.

    Raises:
        chat.storage.base.StoreUnusable: the database cannot be opened.
        chat.access.keys.UnusableKeys: the keys of tokens cannot be used.
        hosting.tls.UnusableCertificate: the certificate cannot be used.
        hosting.telemetry.endpoint.UnusableMetricsPort: the port of metrics cannot be listened on.
        OSError: the address cannot be listened on.
    """
    config = config or Config()
    authenticator, tls = _authenticator(config), _tls(config)
    metrics = ServerMetrics()
    hub = await Hub.open(partial(_open_store, config, metrics.store), metrics, paces=paces)
    context = Context.of(config, authenticator, hub)
    try:
        health = ServiceStatus()
        health.set(True)
        grpc = _grpc_server(context, health)
        metrics_port = serve_metrics(
            config.metrics_host,
            config.metrics_port,
            lambda: Report(hub, grpc.connections, config.write_queue_bytes),
        )
        async with (
            kept_fresh(tls),
            _keys_watched(context),
            _quotas_settled(context),
            context.erasing.going_on(),
            context.marking.at_work(),
            metrics_port as status_url,
        ):
            port = await grpc.listen(config.host, config.port, tls.context if tls else None)
            _warn(config)
            server = RunningServer(config.host, port, context, grpc, health, status_url)
            server.follow(hub.store.health)
            try:
                yield server
            finally:
                await server.drain()
    finally:
        hub.stop()
        await hub.store.close()


async def _open_store(config: Config, metrics: StoreMetrics, listener: Listener) -> Store:
    if config.database == IN_MEMORY:
        return MemoryStore(listener, metrics=metrics)
    if is_postgres(config.database):
        return await _open_postgres(config, metrics, listener)
    return await SqliteStore.open(
        config.database,
        listener,
        config.write_queue_bytes,
        metrics=metrics,
        scrub_seconds=config.scrub_seconds,
    )


async def _open_postgres(config: Config, metrics: StoreMetrics, listener: Listener) -> Store:
    try:
        # What it needs need not be installed.
        from chat.storage.postgres import PostgresStore
    except ModuleNotFoundError as error:
        raise StoreUnusable(
            f"a database in PostgreSQL needs the extra of this package that brings {error.name}: "
            'pip install "asyncio-grpc-chat[postgresql]"'
        ) from error
    return await PostgresStore.open(
        config.database,
        listener,
        config.write_queue_bytes,
        password_file=config.database_password_file,
        metrics=metrics,
        hints=config.hints,
        hints_password_file=config.hints_password_file,
        sweep_seconds=config.sweep_seconds,
    )


@asynccontextmanager
async def _quotas_settled(context: Context) -> AsyncIterator[None]:
    """Lets quotas hold over all nodes while the context is open, if there are others."""
    quotas = context.quotas
    if quotas.tab is None:
        yield
        return
    task = asyncio.create_task(settle(context.hub.store, quotas.tab, quotas.owe, context.faults))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def _keys_watched(context: Context) -> AsyncIterator[None]:
    """Ends the streams of those whose key is gone, while the context is open."""
    task = asyncio.create_task(_watch_keys(context))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _watch_keys(context: Context) -> None:
    authenticator = context.authenticator
    seen = authenticator.refresh()
    # Calls that come look at the file, too; but perhaps none comes.
    while not authenticator.is_open:
        await asyncio.sleep(_LOOK_AT_KEYS_SECONDS)
        read = authenticator.refresh()
        if read != seen:
            seen = read
            for stream in tuple(context.hub.streams):
                if isinstance(stream, Conversation):
                    _judge(stream)


def _judge(stream: Conversation[Any]) -> None:
    """Ends a stream if the key of its caller is gone, or if nobody can tell."""
    try:
        stream.check_keys()
    except Exception:
        # Else the watch would end with it, and with that all that it is there for.
        log.exception("a caller's key not checked")
        stream.end_with(Unavailable("the keys of tokens were replaced"))


def _warn(config: Config) -> None:
    """Warns an operator whose server others can reach, and that lacks keys or TLS."""
    if is_loopback(config.host):
        return
    if not config.trust.token_keys:
        log.warning("anyone who reaches this server may be anyone: it has no token-keys")
    elif not config.trust.tls:
        log.warning("tokens reach this server unencrypted: it has no tls-certificate")


def _authenticator(config: Config) -> Authenticator:
    trust = config.trust
    if not trust.token_keys:
        return Authenticator()
    keys = KeyFile(Path(trust.token_keys))
    verifier = TokenVerifier(keys, trust.tokens, Rules(config.limits))
    return Authenticator(verifier, trust.proxy_names)


def _tls(config: Config) -> Tls | None:
    trust = config.trust
    if not trust.tls:
        return None
    # A client without a certificate may have a token.
    required = not trust.token_keys
    return Tls.server(trust.tls, certificate_required=required).for_http2()


def _grpc_server(context: Context, health: ServiceStatus) -> GrpcServer:
    config = context.config
    return GrpcServer(
        _services(context, health),
        codec.GrpcCodec(),
        _message_limit(config),
        config.connection_limits,
        status_of=status_of,
        calls=context.metrics.calls,
        authenticates=not context.authenticator.is_open,
        # The stream of a proxy lasts for days: its messages are traced one by one.
        traced=("/chat.ChatService/",),
    )


def _services(context: Context, health: ServiceStatus) -> list[IServable]:
    chat: list[IServable] = [ChatService(context), RelayService(context)]
    checks = Health({service: [health] for service in chat})
    return ServerReflection.extend([*chat, checks], pool=_descriptors())


def _descriptors() -> DescriptorPool:
    """The schema, for tools that ask by reflection."""
    pool = DescriptorPool()
    schema = FileDescriptorSet.FromString((files("gen") / "descriptor.binpb").read_bytes())
    for file in schema.file:
        pool.Add(file)
    pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    return pool


def _message_limit(config: Config) -> MessageLimit:
    largest = config.limits.content_bytes + _ENVELOPE_BYTES
    return lambda path: _BATCH_BYTES if path == RELAY else largest
