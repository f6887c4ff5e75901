"""The command ``python -m chat``."""

from __future__ import annotations

import click

from chat.access.keys import UnusableKeys
from chat.access.tokens import TokenRules
from chat.api.handlers import NotHandled
from chat.config import RATES, Config, Trust
from chat.core.rules import Limits
from chat.server import serve
from chat.storage.base import StoreUnusable
from hosting.command import (
    ServiceFailed,
    StartError,
    cannot_listen,
    checking_options,
    ready,
    run_command,
    run_service,
)
from hosting.grpc.limits import ConnectionLimits
from hosting.options import Options
from hosting.rate_limits import Rates
from hosting.signals import first_of, stop_event
from hosting.telemetry.endpoint import UnusableMetricsPort
from hosting.tls import TlsFiles, UnusableCertificate

_default = Config()
_limits = Limits()
_connections = ConnectionLimits()
_trust = Trust()
_options = Options("CHAT")


@click.command(help="Run the chat server: rooms, history and users over gRPC.")
@_options.text("host", _default.host, "The address to listen on.")
@_options.port(_default.port)
@_options.text("database", _default.database, "The SQLite file; ':memory:' keeps nothing on disk.")
@_options.count("content-bytes", _limits.content_bytes, "Longest text of a message, in bytes.")
@_options.count("id-length", _limits.id_length, "Longest id or name, in characters.")
@_options.count("rooms-per-stream", _limits.rooms_per_stream, "Rooms one stream may be in.")
@_options.count("users-per-stream", _limits.users_per_stream, "Users one stream may send as.")
@_options.count("rooms-per-proxy", _limits.rooms_per_proxy, "Rooms a proxy may be in.")
@_options.count("users-per-proxy", _limits.users_per_proxy, "Users a proxy may speak for.")
@_options.count("connections", _connections.connections, "Connections in all.")
@_options.count(
    "connections-per-address", _connections.connections_per_address, "Open from one address."
)
@_options.count(
    "streams-per-connection", _connections.streams_per_connection, "Calls open on one connection."
)
@_options.seconds("handshake-seconds", _connections.handshake_seconds, "For a client's preface.")
@_options.seconds("stall-seconds", _connections.stall_seconds, "For a client whose socket is full.")
@_options.seconds(
    "heartbeat-seconds", _connections.heartbeat_seconds, "How often silent clients are pinged."
)
@_options.seconds("idle-seconds", _connections.idle_seconds, "For a connection without a call.")
@_options.rate("calls-per-address", _connections.calls_per_address, "Of callers not known yet.")
@_options.rate("sends-per-second", RATES.sends, "Messages of a user.")
@_options.rate("joins-per-second", RATES.joins, "Rooms that a user enters.")
@_options.rate("calls-per-second", RATES.calls, "Other requests of a user.")
@_options.count("mailbox-bytes", _default.mailbox_bytes, "What may wait for a client.")
@_options.count("relay-mailbox-bytes", _default.relay_mailbox_bytes, "The same for a proxy.")
@_options.count("replay-messages", _default.replay_messages, "What `join` replays at most.")
@_options.count("write-queue-bytes", _default.write_queue_bytes, "What may wait for the disk.")
@_options.seconds("drain-seconds", _default.drain_seconds, "How long a stop waits for calls.")
@_options.text("metrics-host", _default.metrics_host, "The address of metrics and status page.")
@_options.metrics_port(9464)
@_options.text("token-keys", _trust.token_keys, "The file with the keys of tokens.")
@_options.text("token-issuer", _trust.tokens.issuer, "Who must have issued a token.")
@_options.text("token-audience", _trust.tokens.audience, "Whom a token must be meant for.")
@_options.seconds("token-leeway-seconds", _trust.tokens.leeway_seconds, "Between two clocks.")
@_options.text("tls-certificate", _trust.tls.certificate, "What the server shows, in PEM.")
@_options.text("tls-key", _trust.tls.key, "The private key of that, in PEM.")
@_options.text("tls-client-ca", _trust.tls.authorities, "Whose certificates clients may show.")
@_options.words("proxy-names", "DNS names in certificates of proxies, by commas.")
@_options.log_level()
@_options.log_format()
def command(
    log_level: str,
    log_format: str,
    content_bytes: int,
    id_length: int,
    rooms_per_stream: int,
    users_per_stream: int,
    rooms_per_proxy: int,
    users_per_proxy: int,
    connections: int,
    connections_per_address: int,
    streams_per_connection: int,
    handshake_seconds: float,
    stall_seconds: float,
    sends_per_second: float,
    joins_per_second: float,
    calls_per_second: float,
    token_keys: str,
    token_issuer: str,
    token_audience: str,
    token_leeway_seconds: float,
    tls_certificate: str,
    tls_key: str,
    tls_client_ca: str,
    proxy_names: tuple[str, ...],
    heartbeat_seconds: float,
    idle_seconds: float,
    calls_per_address: float,
    **settings: object,
) -> None:
    """Builds the settings and serves."""
    with checking_options():
        config = Config(
            limits=Limits(
                content_bytes,
                id_length,
                rooms_per_stream,
                users_per_stream,
                rooms_per_proxy,
                users_per_proxy,
            ),
            connection_limits=ConnectionLimits(
                connections,
                streams_per_connection,
                handshake_seconds,
                stall_seconds,
                heartbeat_seconds,
                idle_seconds,
                connections_per_address,
                calls_per_address,
            ),
            rates=Rates(sends_per_second, joins_per_second, calls_per_second),
            trust=Trust(
                token_keys,
                TokenRules(token_issuer, token_audience, token_leeway_seconds),
                frozenset(proxy_names),
                TlsFiles(tls_certificate, tls_key, tls_client_ca),
            ),
            **settings,  # type: ignore[arg-type]  # click checked them
        )
    run_service(lambda: _serve(config), "chat-server", log_level, log_format)


async def _serve(config: Config) -> None:
    with stop_event() as stop:
        try:
            async with serve(config) as server:
                ready(f"chat server ready: gRPC on {server.address}")
                await first_of(stop, server.failed)
            if server.failed.is_set():
                raise ServiceFailed(f"stopped: {server.failure}")
        except (StoreUnusable, NotHandled, UnusableKeys, UnusableCertificate) as error:
            raise StartError(str(error)) from error
        except UnusableMetricsPort as error:
            raise StartError(f"{error}; {_options.advice('metrics-port')}") from error
        except OSError as error:
            raise cannot_listen(config.host, config.port, error, _options) from error


def main() -> None:
    """The console script ``chat-server``."""
    run_command(command, "chat-server")


if __name__ == "__main__":
    run_command(command, "python -m chat")
