"""The settings of the proxy: declared here, and checked where they are built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hosting.addresses import split_address
from hosting.rate_limits import Rates
from hosting.settings import (
    FLAG,
    HOST,
    OPERATION,
    PORT,
    PORT_OR_OFF,
    RATE,
    SECONDS,
    TEXT,
    Settings,
    duration,
    optional_part,
    part,
    setting,
    text,
    whole,
    words,
)
from hosting.tls import TlsFiles
from proxy.access.forwarded import TrustedProxies
from proxy.access.origins import Origins

LARGEST_FRAME: Final = 1024 * 1024
# The header that tells the server of a deadline has at most 8 digits.
LONGEST_CALL: Final = 99_999_999


@dataclass(frozen=True, slots=True)
class Admittance(Settings):
    """Rules for opening a WebSocket."""

    origins: tuple[str, ...] = setting(
        (),
        words(lambda _, value: Origins(value)),
        "The origins of the pages that may connect, with commas between them. "
        "`https://chat.example.org` is one; `*` is all, `self` the page that the proxy itself "
        "serves. Without it, that one alone.",
        group="Admission and rates",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        words(lambda _, value: TrustedProxies(value)),
        "The addresses, or networks, of the proxies in front, with commas between them. What they "
        "say in `X-Forwarded-For`, `-Host` and `-Proto` is believed, and of nobody else.",
    )
    connections_per_address: int = setting(
        1000,
        whole(),
        "How many WebSockets may be open from one address; of IPv6, from one /64 network. 0 for "
        "no limit, here and in the next six.",
    )
    handshakes_per_second: float = setting(
        50.0,
        RATE,
        "How many WebSockets may be opened from one address; ten seconds' worth at once.",
    )
    clients_per_address: int = setting(
        20,
        whole(),
        "All clients of an address may ask as often as so many, by the next four options. One "
        "that comes again begins where the one that left stood.",
    )


@dataclass(frozen=True, slots=True)
class ClientRates(Rates):
    """Rates of a client, on each connection.

    Neither a person comes near the defaults, nor a page that comes back to its rooms.
    """

    sends: float = setting(
        50.0,
        RATE,
        "How many messages a client may send on one connection; ten seconds' worth at once. One "
        "of 32 KiB or more counts as several.",
        name="sends-per-second",
    )
    joins: float = setting(
        50.0, RATE, "How many rooms a client may join, likewise.", name="joins-per-second"
    )
    calls: float = setting(
        50.0,
        RATE,
        "How many other frames a client may send, likewise. 64 pings, pongs or pieces of messages "
        "count as one; a frame that is wrong, as one more for each KiB.",
        name="calls-per-second",
    )
    history: float = setting(
        1000.0,
        RATE,
        "How many messages of the history a client may get, in pages or replayed by `join`, "
        "likewise. Past it, a replay goes on more slowly, and a page is refused.",
        name="history-per-second",
    )


@dataclass(frozen=True, slots=True)
class UpstreamTls(TlsFiles):
    """Files for TLS with the chat server."""

    certificate: str = setting(
        "",
        TEXT,
        "The certificate that the proxy shows to the server, in PEM.",
        name="upstream-certificate",
    )
    key: str = setting("", TEXT, "The private key of that, in PEM.", name="upstream-key")
    authorities: str = setting(
        "",
        TEXT,
        "The authorities whose certificates the server may show, and nobody else's, in PEM. "
        "Without it, those that the system trusts.",
        name="upstream-ca",
    )
    prefix: str = "upstream"
    wanted: bool = setting(
        False,
        FLAG,
        "Encrypt the link to the server. So does each of the three before.",
        name="upstream-tls",
    )


@dataclass(frozen=True, slots=True)
class ClientTls(TlsFiles):
    """Files for TLS with clients."""

    certificate: str = setting(
        "",
        TEXT,
        "The certificate that the proxy shows to its clients, in PEM. With it, the proxy speaks "
        "`https` and `wss`. It is read again when it changes.",
        name="tls-certificate",
    )
    key: str = setting("", TEXT, "The private key of the certificate, in PEM.", name="tls-key")


@dataclass(frozen=True, slots=True)
class Config(Settings):
    """The settings of a proxy."""

    host: str = setting("localhost", HOST, "The address to listen on.", group="Address and TLS")
    port: int = setting(8080, PORT, "The TCP port. 0 takes a free one; the ready line says which.")
    tls: TlsFiles = part(ClientTls)
    upstream: str = setting(
        "127.0.0.1:50051",
        text(lambda name, value: split_address(value, name)),
        "The chat server, as `HOST:PORT`; an IPv6 address stands in brackets.",
        group="Link to the chat server",
    )
    upstream_token_file: str = setting(
        "",
        TEXT,
        "The file with the token by which the server knows the proxy; its role is `proxy`. It is "
        "read for each link.",
    )
    upstream_tls: TlsFiles | None = optional_part(UpstreamTls)
    upstream_heartbeat_seconds: float = setting(
        10.0,
        duration(),
        "How often the chat server is asked whether it is there. A link on which no answer comes "
        "within half of it is given up, and another is opened.",
    )
    hold_seconds: float = setting(
        20.0, SECONDS, "How long messages and joins wait for a chat server that is away."
    )
    hold_bytes: int = setting(
        16 * 1024 * 1024,
        whole(1),
        "How many bytes of messages and joins may wait for a chat server that is away.",
    )
    call_seconds: float = setting(
        10.0,
        duration(LONGEST_CALL),
        "How long a call such as `get_chat_history` may take, the wait for the chat server "
        f"included; at most {LONGEST_CALL}.",
    )
    admittance: Admittance = part(Admittance)
    rates: Rates = part(ClientRates)
    connections: int = setting(
        10_000,
        whole(1),
        "How many connections there may be, or fewer if the process may not open so many files "
        "and 64 more. When there are as many, the oldest that is no WebSocket makes room for the "
        "next; if all are, the next is answered with 503.",
        group="Connections",
    )
    handshake_seconds: float = setting(
        10.0,
        duration(),
        "How long a client may take to send a request, from when it connected or was answered "
        "before, and then to take the answer, before it is dropped. A WebSocket is not meant: see "
        "`--heartbeat-seconds`.",
    )
    heartbeat_seconds: float = setting(
        30.0,
        duration(),
        "After how long, at most, a silent client is pinged. One that does not answer within half "
        "of it is dropped, and its users are inactive.",
    )
    frame_bytes: int = setting(
        64 * 1024,
        # The chat server takes batches of a bounded size.
        whole(1, LARGEST_FRAME),
        "The largest frame of a client, at most 1 MiB. A larger one is refused by an error; one "
        "of more than four times that closes the connection.",
    )
    rooms_per_connection: int = setting(1000, whole(1), "How many rooms one client may be in.")
    users_per_connection: int = setting(1000, whole(1), "As how many users one client may send.")
    mailbox_bytes: int = setting(
        1024 * 1024,
        whole(1),
        "How much may wait for a client that does not read before it is closed with 4008.",
    )
    replay_messages: int = setting(
        10_000, whole(), "How many missed messages a `join` replays at most."
    )
    drain_seconds: float = setting(
        10.0,
        SECONDS,
        "How long a stop waits for messages to be confirmed and for clients to close.",
    )
    metrics_host: str = setting(
        "127.0.0.1",
        HOST,
        "The address of the port for metrics and status page. It asks nobody who they are: leave "
        "it on loopback, or let nobody but your Prometheus reach it. See [metrics](metrics.md).",
        group=OPERATION,
    )
    metrics_port: int | None = setting(
        None,
        PORT_OR_OFF,
        "The TCP port of metrics and status page; `off` has none. 0 takes a free one, which the "
        "log names. A second proxy on the same machine needs another.",
        command_default=9465,
    )
