"""The settings of the proxy: declared here, or in the part that obeys them."""

from dataclasses import dataclass
from typing import Final

from hosting.addresses import split_addresses
from hosting.kinds import (
    FLAG,
    HOST,
    PORT,
    RATE,
    SECONDS,
    TEXT,
    duration,
    text,
    whole,
)
from hosting.rate_limits import Rates
from hosting.settings import Settings, metrics_host, metrics_port, optional_part, part, setting
from hosting.tls import TlsFiles
from proxy.access.admission import AdmissionRules

LARGEST_FRAME: Final = 1024 * 1024
# The header that tells the server of a deadline has at most 8 digits.
LONGEST_CALL: Final = 99_999_999


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRates(Rates):
    """Rates of a client, on each connection.

    Neither a person comes near the defaults, nor a page that comes back to its rooms.
    """

    sends: float = setting(
        50.0,
        RATE,
        "The messages a second that a client may send on one connection, in bursts of ten "
        "seconds' worth. A message of 32 KiB or more counts as several. 0 means no limit.",
        name="sends-per-second",
    )
    joins: float = setting(
        50.0,
        RATE,
        "The joins a second of a client, likewise. 0 means no limit.",
        name="joins-per-second",
    )
    calls: float = setting(
        50.0,
        RATE,
        "The other frames a second of a client, likewise. 64 pings, pongs or message fragments "
        "count as one; an invalid frame counts as one more for each KiB. 0 means no limit.",
        name="calls-per-second",
    )
    history: float = setting(
        1000.0,
        RATE,
        "The history messages a second that a client may read, in pages or replayed by `join`, "
        "likewise. Beyond it, a replay slows down, and a page is rejected. 0 means no limit.",
        name="history-per-second",
    )


@dataclass(frozen=True, slots=True)
class UpstreamTls(TlsFiles):
    """Files for TLS with the chat server."""

    certificate: str = setting(
        "",
        TEXT,
        "The certificate that the proxy presents to the server, in PEM.",
        name="upstream-certificate",
    )
    key: str = setting(
        "", TEXT, "The private key of that certificate, in PEM.", name="upstream-key"
    )
    authorities: str = setting(
        "",
        TEXT,
        "The only CAs trusted for the server's certificate, in PEM. Without it, the system's CAs "
        "are trusted.",
        name="upstream-ca",
    )
    prefix: str = "upstream"
    wanted: bool = setting(
        False,
        FLAG,
        "Encrypt the link to the server. Each of the previous three options implies it.",
        name="upstream-tls",
    )


@dataclass(frozen=True, slots=True)
class ClientTls(TlsFiles):
    """Files for TLS with clients."""

    certificate: str = setting(
        "",
        TEXT,
        "The certificate that the proxy presents to its clients, in PEM. With it, the proxy "
        "speaks `https` and `wss`. It is reloaded when it changes.",
        name="tls-certificate",
    )
    key: str = setting("", TEXT, "The private key of the certificate, in PEM.", name="tls-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Settings):
    """The settings of a proxy."""

    host: str = setting("localhost", HOST, "The address to listen on.", group="Address and TLS")
    port: int = setting(
        8080, PORT, "The TCP port. 0 selects a free one, which the ready line shows."
    )
    tls: TlsFiles = part(ClientTls)
    upstream: str = setting(
        "127.0.0.1:50051",
        text(lambda name, value: split_addresses(value, name)),
        "The chat server, as `HOST:PORT`; an IPv6 address in brackets. Several that share a "
        "database have a comma and no space between. A name with several addresses stands for as "
        "many servers; it is looked up anew before each connection.",
        group="Link to the chat server",
    )
    upstream_token_file: str = setting(
        "",
        TEXT,
        "The file with the proxy's token, whose role is `proxy`. It is read for each new link.",
    )
    upstream_tls: TlsFiles | None = optional_part(UpstreamTls)
    upstream_heartbeat_seconds: float = setting(
        10.0,
        duration(),
        "The interval of health checks on the link to the chat server. A link without a reply "
        "within half of it is dropped and reopened.",
    )
    upstream_recycle_seconds: float = setting(
        600.0,
        SECONDS,
        "With several chat servers, the average time after which the link is drawn anew among "
        "them, so that one that was restarted gets its share. 0 means never.",
    )
    hold_seconds: float = setting(
        20.0, SECONDS, "The time that messages and joins wait for a chat server that is away."
    )
    hold_bytes: int = setting(
        16 * 1024 * 1024,
        whole(1),
        "The bytes of messages and joins that may wait for a chat server that is away.",
    )
    call_seconds: float = setting(
        10.0,
        duration(LONGEST_CALL),
        "The time limit of a call such as `get_chat_history`, including the wait for the chat "
        f"server; at most {LONGEST_CALL}.",
    )
    admission: AdmissionRules = part(AdmissionRules)
    rates: Rates = part(ClientRates)
    connections: int = setting(
        10_000,
        whole(1),
        "The maximum number of connections; fewer if the process cannot open that many files plus "
        "64. At the limit, the oldest connection that is not a WebSocket is closed for a new one; "
        "if all are WebSockets, the new one gets 503.",
        group="Connections",
    )
    handshake_seconds: float = setting(
        10.0,
        duration(),
        "The time for a client to send a request, since it connected or got the previous "
        "response, and again to read the response, before it is dropped. For WebSockets see "
        "`--heartbeat-seconds`.",
    )
    heartbeat_seconds: float = setting(
        30.0,
        duration(),
        "The longest silence before a client is pinged. If it does not reply within half of it, "
        "it is dropped, and its users are inactive.",
    )
    frame_bytes: int = setting(
        64 * 1024,
        # The chat server takes batches of a bounded size.
        whole(1, LARGEST_FRAME),
        "The largest frame of a client, at most 1 MiB. A larger one gets an error; one of more "
        "than four times that closes the connection.",
    )
    rooms_per_connection: int = setting(
        1000, whole(1), "The maximum number of rooms of one client."
    )
    users_per_connection: int = setting(
        1000, whole(1), "The maximum number of users as whom one client may send."
    )
    mailbox_bytes: int = setting(
        1024 * 1024,
        whole(1),
        "The bytes that may wait for a client that does not read before it is closed with 4008.",
    )
    replay_messages: int = setting(
        10_000, whole(), "The maximum number of missed messages that a `join` replays."
    )
    drain_seconds: float = setting(
        10.0,
        SECONDS,
        "The time that a stop waits for messages to be confirmed and for clients to close.",
    )
    metrics_host: str = metrics_host()
    metrics_port: int | None = metrics_port(9465)
