"""The settings of the server, checked where they are built."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Final

from chat.access.tokens import TokenRules
from chat.core.rules import Limits
from hosting.addresses import can_be_host
from hosting.grpc.limits import ConnectionLimits
from hosting.rate_limits import Rates
from hosting.telemetry.endpoint import check_metrics_address
from hosting.text import check_setting
from hosting.tls import TlsFiles

IN_MEMORY = ":memory:"

RATES: Final = Rates(sends=100.0, joins=100.0, calls=100.0)
"""What people with several devices, and small bots, do not come near."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the server believes.

    Attributes:
        token_keys: the file with the keys of tokens, see `chat.access.keys`; empty
            for a server whose callers are all guests.
        tokens: what tokens must say.
        proxy_names: the DNS names in certificates of proxies.
        tls: what it shows, and whose certificates it believes of clients.
    """

    token_keys: str = ""
    tokens: TokenRules = field(default_factory=TokenRules)
    proxy_names: frozenset[str] = frozenset()
    tls: TlsFiles = field(default_factory=TlsFiles)

    def __post_init__(self) -> None:
        """Checks that the settings go together.

        Raises:
            ValueError: they do not; the text names one.
        """
        check_setting("token-keys", self.token_keys)
        check_setting("token-issuer", self.tokens.issuer)
        check_setting("token-audience", self.tokens.audience)
        check_setting("proxy-names", *self.proxy_names)
        leeway = self.tokens.leeway_seconds
        if not (isfinite(leeway) and leeway >= 0):
            raise ValueError("token-leeway-seconds must be a finite number, not negative")
        if self.tls.authorities and not self.tls.certificate:
            raise ValueError("tls-client-ca needs a tls-certificate")
        if self.proxy_names and not self.tls.authorities:
            raise ValueError("proxy-names need a tls-client-ca")
        if self.proxy_names and not self.token_keys:
            raise ValueError("proxy-names need token-keys: without them, anyone may be a proxy")


@dataclass(frozen=True, slots=True)
class Config:
    """How a server runs.

    Attributes:
        host: the address to listen on.
        port: the TCP port, 0 to 65535; 0 takes a free one.
        database: the path of the SQLite file, made if it is not there, or
            ``:memory:`` for a history that ends with the process.
        limits: how large requests may be.
        connection_limits: what connections may do.
        rates: how often a user may ask, over all connections; a guest, on each.
        trust: whom it believes.
        mailbox_bytes: how much may wait for a client before it is cut off.
        relay_mailbox_bytes: the same for a proxy, which serves many clients.
        replay_messages: how many missed messages `join` replays at most; a
            client that missed more is told to page through the history.
        write_queue_bytes: how much may wait for the disk before the server
            stops reading from those who send.
        drain_seconds: how long a stop waits for calls to end.
        metrics_host: the address of the port for metrics and the status page.
        metrics_port: that port; 0 takes a free one, `None` has none.
    """

    host: str = "0.0.0.0"  # noqa: S104 - the contract's address
    port: int = 50051
    database: str = "data/chat.db"
    limits: Limits = field(default_factory=Limits)
    connection_limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    rates: Rates = RATES
    trust: Trust = field(default_factory=Trust)
    mailbox_bytes: int = 1024 * 1024
    relay_mailbox_bytes: int = 64 * 1024 * 1024
    replay_messages: int = 10_000
    write_queue_bytes: int = 16 * 1024 * 1024
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
        if not self.database:
            raise ValueError("database must not be empty")
        check_setting("database", self.database)
        for name in ("mailbox_bytes", "relay_mailbox_bytes", "write_queue_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} must be at least 1")
        if self.replay_messages < 0:
            raise ValueError("replay-messages must not be negative")
        if not (isfinite(self.drain_seconds) and self.drain_seconds >= 0):
            raise ValueError("drain-seconds must be a finite number, not negative")
        check_metrics_address(self.metrics_host, self.metrics_port)
