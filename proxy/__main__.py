"""The command ``python -m proxy``."""

from __future__ import annotations

import click

from hosting.command import (
    StartError,
    cannot_listen,
    checking_options,
    ready,
    run_command,
    run_service,
)
from hosting.options import Options
from hosting.rate_limits import Rates
from hosting.signals import stop_event
from hosting.telemetry.endpoint import UnusableMetricsPort
from hosting.tls import TlsFiles, UnusableCertificate
from proxy.app import serve
from proxy.config import RATES, Admittance, Config

_default = Config()
_admittance = Admittance()
_options = Options("PROXY")


@click.command(help="Run the proxy: WebSocket and JSON in front of the chat server.")
@_options.text("host", _default.host, "The address to listen on.")
@_options.port(_default.port)
@_options.text("upstream", _default.upstream, "HOST:PORT of the chat server.")
@_options.count("connections", _default.connections, "How many connections there may be.")
@_options.seconds("handshake-seconds", _default.handshake_seconds, "How long a request may take.")
@_options.count("frame-bytes", _default.frame_bytes, "Largest frame of a client.")
@_options.words("origins", "Origins of pages that may connect, by commas; '*' for all.")
@_options.words("trusted-proxies", "Addresses of proxies in front, by commas.")
@_options.count(
    "connections-per-address", _admittance.connections_per_address, "Open from one address."
)
@_options.rate(
    "handshakes-per-second", _admittance.handshakes_per_second, "Opened from one address."
)
@_options.count(
    "clients-per-address", _admittance.clients_per_address, "As how many an address may ask."
)
@_options.rate("sends-per-second", RATES.sends, "Messages of one client.")
@_options.rate("joins-per-second", RATES.joins, "Rooms that one client enters.")
@_options.rate("calls-per-second", RATES.calls, "Other frames of one client.")
@_options.rate("history-per-second", RATES.history, "Messages of the history for one client.")
@_options.count("rooms-per-connection", _default.rooms_per_connection, "Rooms of one client.")
@_options.count("users-per-connection", _default.users_per_connection, "Users of one client.")
@_options.count("mailbox-bytes", _default.mailbox_bytes, "What may wait for a client.")
@_options.count("replay-messages", _default.replay_messages, "What `join` replays at most.")
@_options.seconds("hold-seconds", _default.hold_seconds, "How long requests wait for a server.")
@_options.count("hold-bytes", _default.hold_bytes, "How much of them may wait.")
@_options.seconds("call-seconds", _default.call_seconds, "The deadline of a unary call.")
@_options.seconds("heartbeat-seconds", _default.heartbeat_seconds, "How often clients are pinged.")
@_options.seconds(
    "upstream-heartbeat-seconds", _default.upstream_heartbeat_seconds, "How often the server is."
)
@_options.seconds("drain-seconds", _default.drain_seconds, "How long a stop waits.")
@_options.text("metrics-host", _default.metrics_host, "The address of metrics and status page.")
@_options.metrics_port(9465)
@_options.text("upstream-token-file", _default.upstream_token_file, "The proxy's own token.")
@_options.flag("upstream-tls", "Encrypt the link to the server.")
@_options.text("upstream-ca", "", "Whose certificates the server may show, in PEM.")
@_options.text("upstream-certificate", "", "What the proxy shows to the server, in PEM.")
@_options.text("upstream-key", "", "The private key of that, in PEM.")
@_options.text("tls-certificate", "", "What the proxy shows to its clients, in PEM.")
@_options.text("tls-key", "", "The private key of that, in PEM.")
@_options.log_level()
@_options.log_format()
def command(
    log_level: str,
    log_format: str,
    upstream_tls: bool,
    upstream_ca: str,
    upstream_certificate: str,
    upstream_key: str,
    tls_certificate: str,
    tls_key: str,
    origins: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    connections_per_address: int,
    handshakes_per_second: float,
    clients_per_address: int,
    sends_per_second: float,
    joins_per_second: float,
    calls_per_second: float,
    history_per_second: float,
    **settings: object,
) -> None:
    """Builds the settings and serves."""
    with checking_options():
        upstream_files = TlsFiles(
            upstream_certificate, upstream_key, upstream_ca, prefix="upstream"
        )
        config = Config(
            upstream_tls=upstream_files if upstream_tls or upstream_files else None,
            tls=TlsFiles(tls_certificate, tls_key),
            admittance=Admittance(
                origins,
                trusted_proxies,
                connections_per_address,
                handshakes_per_second,
                clients_per_address,
            ),
            rates=Rates(sends_per_second, joins_per_second, calls_per_second, history_per_second),
            **settings,  # type: ignore[arg-type]  # click checked them
        )
    run_service(lambda: _serve(config), "chat-proxy", log_level, log_format)


async def _serve(config: Config) -> None:
    with stop_event() as stop:
        try:
            async with serve(config) as proxy:
                ready(f"chat proxy ready: page and WebSocket on {proxy.url}")
                await stop.wait()
        except UnusableCertificate as error:
            raise StartError(str(error)) from error
        except UnusableMetricsPort as error:
            raise StartError(f"{error}; {_options.advice('metrics-port')}") from error
        except OSError as error:
            raise cannot_listen(config.host, config.port, error, _options) from error


def main() -> None:
    """The console script ``chat-proxy``."""
    run_command(command, "chat-proxy")


if __name__ == "__main__":
    run_command(command, "python -m proxy")
