"""The settings of the proxy, checked where they are built."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

from hosting.addresses import can_be_host
from hosting.rate_limits import Rates, check_rate
from hosting.telemetry.endpoint import check_metrics_address
from hosting.text import check_setting
from hosting.tls import TlsFiles
from proxy.access.forwarded import TrustedProxies
from proxy.access.origins import Origins

_ADDRESS: Final = re.compile(
    r"(?:\[(?P<ipv6>[^][/\s]+)\]|(?P<host>[^][:/\s]+)):(?P<port>[0-9]{1,5})"
)

LARGEST_FRAME: Final = 1024 * 1024
# The header that tells the server of a deadline has at most 8 digits.
LONGEST_CALL: Final = 99_999_999


_COUNTS: Final = (
    "connections",
    "frame_bytes",
    "rooms_per_connection",
    "users_per_connection",
    "mailbox_bytes",
    "hold_bytes",
)
# What may be over at once, and what takes time.
_WAITS: Final = ("hold_seconds", "drain_seconds")
_LIMITS: Final = (
    "handshake_seconds",
    "call_seconds",
    "heartbeat_seconds",
    "upstream_heartbeat_seconds",
)

RATES: Final = Rates(sends=50.0, joins=50.0, calls=50.0, history=1000.0)
"""What a person does not come near, nor a page that comes back to its rooms."""


@dataclass(frozen=True, slots=True)
class Admittance:
    """Who may open a WebSocket.

    Attributes:
        origins: the web pages that may, by their origins; ``*`` for all; empty for the
            page that the proxy itself serves.
        trusted_proxies: the addresses, or networks, of the proxies in front that are
            believed when they say who the client is.
        connections_per_address: how many may be open from one address; 0 for no limit.
        handshakes_per_second: how many may be opened from one address; 0 for no limit.
        clients_per_address: clients at one address may ask as often as so many, all
            together; 0 for no limit.
    """

    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    connections_per_address: int = 1000
    handshakes_per_second: float = 50.0
    clients_per_address: int = 20

    def __post_init__(self) -> None:
        """Checks each setting.

        Raises:
            ValueError: a setting is wrong; the text names it.
        """
        Origins(self.origins)
        TrustedProxies(self.trusted_proxies)
        for name in ("connections_per_address", "clients_per_address"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name.replace('_', '-')} must not be negative")
        check_rate("handshakes-per-second", self.handshakes_per_second)


@dataclass(frozen=True, slots=True)
class Config:
    """How a proxy runs.

    Attributes:
        host: the address to listen on.
        port: the TCP port, 0 to 65535; 0 takes a free one.
        upstream: ``host:port`` of the chat server.
        upstream_token_file: the file with the token by which the server knows the
            proxy; read for each link. Empty where it needs none.
        upstream_tls: whether the link to the server is encrypted, and by what.
        tls: what the proxy shows to its clients; empty for ``ws``.
        admittance: who may open a WebSocket.
        rates: how often a client may ask, on each connection.
        frame_bytes: the largest frame of a client, at most 1 MiB: the chat server
            takes batches of a bounded size.
        connections: how many connections there may be; when there are as many, one
            that is no WebSocket makes room for the next.
        handshake_seconds: how long a client may take to send a request.
        rooms_per_connection: how many rooms one client may be in.
        users_per_connection: as how many users one client may send.
        mailbox_bytes: how much may wait for a client before it is closed.
        replay_messages: how many missed messages `join` replays at most.
        hold_seconds: how long requests are held while the server is away.
        hold_bytes: how much of them is held.
        call_seconds: the deadline of a unary call, at most 99,999,999.
        heartbeat_seconds: after how long a silent client is pinged; one that does
            not answer within half of it is given up.
        upstream_heartbeat_seconds: how often the server is asked for a sign of life;
            a link on which none comes within half of it is given up.
        drain_seconds: how long a stop waits for messages to be confirmed and for
            clients to close.
        metrics_host: the address of the port for metrics and the status page.
        metrics_port: that port; 0 takes a free one, `None` has none.
    """

    host: str = "localhost"
    port: int = 8080
    upstream: str = "127.0.0.1:50051"
    upstream_token_file: str = ""
    upstream_tls: TlsFiles | None = None
    tls: TlsFiles = field(default_factory=TlsFiles)
    admittance: Admittance = field(default_factory=Admittance)
    rates: Rates = RATES
    frame_bytes: int = 64 * 1024
    connections: int = 10_000
    handshake_seconds: float = 10.0
    rooms_per_connection: int = 1000
    users_per_connection: int = 1000
    mailbox_bytes: int = 1024 * 1024
    replay_messages: int = 10_000
    hold_seconds: float = 20.0
    hold_bytes: int = 16 * 1024 * 1024
    call_seconds: float = 10.0
    heartbeat_seconds: float = 30.0
    upstream_heartbeat_seconds: float = 10.0
    drain_seconds: float = 10.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        """Checks each setting.

        Raises:
            ValueError: a setting is out of range; the text names it.
        """
        if not self.host:
            raise ValueError("host must not be empty")
        if not can_be_host(self.host):
            raise ValueError(f"host must be an address or a name, not {self.host!r}")
        if not 0 <= self.port <= 65535:
            raise ValueError("port must be from 0 to 65535")
        split_address(self.upstream)
        check_setting("upstream-token-file", self.upstream_token_file)
        self._check_sizes()
        self._check_times()
        check_metrics_address(self.metrics_host, self.metrics_port)

    def _check_sizes(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} must be at least 1")
        if self.frame_bytes > LARGEST_FRAME:
            raise ValueError(f"frame-bytes must be at most {LARGEST_FRAME}")
        if self.replay_messages < 0:
            raise ValueError("replay-messages must not be negative")

    def _check_times(self) -> None:
        for name in (*_WAITS, *_LIMITS):
            if not isfinite(getattr(self, name)):
                raise ValueError(f"{name.replace('_', '-')} must be a finite number")
        for name in _WAITS:
            if getattr(self, name) < 0:
                raise ValueError(f"{name.replace('_', '-')} must not be negative")
        for name in _LIMITS:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name.replace('_', '-')} must be more than 0")
        if self.call_seconds > LONGEST_CALL:
            raise ValueError(f"call-seconds must be at most {LONGEST_CALL}")


def split_address(address: str) -> tuple[str, int]:
    """Splits ``host:port``; an IPv6 address stands in brackets (RFC 3986, section 3.2.2).

    Raises:
        ValueError: it is not such an address.
    """
    found = _ADDRESS.fullmatch(address)
    host = found and (found["ipv6"] or found["host"])
    if not found or not host or not can_be_host(host) or not 0 < int(found["port"]) <= 65535:
        raise ValueError(f"upstream must be HOST:PORT, such as 127.0.0.1:50051, not {address!r}")
    return host, int(found["port"])
