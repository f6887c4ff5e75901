"""The settings of the server: declared here, or in the part that obeys them."""

import re
from dataclasses import dataclass
from typing import Final

from chat.access.tokens import TokenRules
from chat.core.rules import Limits
from hosting.grpc.limits import ConnectionLimits
from hosting.kinds import FILE, HOST, NAME_SET, PORT, RATE, SECONDS, TEXT, duration, text, whole
from hosting.rate_limits import Rates
from hosting.settings import Settings, metrics_host, metrics_port, part, setting
from hosting.tls import TlsFiles

IN_MEMORY = ":memory:"

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_POSTGRES: Final = ("postgresql", "postgres")
_VALKEY: Final = ("valkey", "valkeys", "redis", "rediss")


def is_postgres(database: str) -> bool:
    """Whether a database is the URL of one in PostgreSQL."""
    match = _SCHEME.match(database)
    return match is not None and match[1].lower() in _POSTGRES


def _check_database(name: str, value: str) -> None:
    FILE.check(name, value)
    match = _SCHEME.match(value)
    if match and not is_postgres(value):
        # The rest of it may hold a password.
        raise ValueError(
            f"{name} must be the path of a file, {IN_MEMORY} or postgresql://…, "
            f"and not {match[1]}://…"
        )


def _check_hints(name: str, value: str) -> None:
    TEXT.check(name, value)
    match = _SCHEME.match(value)
    if value and not (match and match[1].lower() in _VALKEY):
        raise ValueError(f"{name} must be empty, or the URL of a Valkey: valkey://host:port")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRates(Rates):
    """Rates of a user, over all connections; of a guest, on each.

    People with several devices, and small bots, do not come near the defaults.
    """

    sends: float = setting(
        100.0,
        RATE,
        "The messages a second that a user may send, over all connections and proxies, and over "
        "all servers that share a database, in bursts "
        "of ten seconds' worth. A gRPC guest is limited per connection. 0 means no limit.",
        name="sends-per-second",
        group="Rates",
    )
    joins: float = setting(
        100.0,
        RATE,
        "The joins a second of a user, likewise. 0 means no limit.",
        name="joins-per-second",
    )
    calls: float = setting(
        100.0,
        RATE,
        "The other requests a second of a user, likewise. 0 means no limit.",
        name="calls-per-second",
    )


@dataclass(frozen=True, slots=True)
class ServerTls(TlsFiles):
    """Files for TLS with clients."""

    certificate: str = setting(
        "",
        TEXT,
        "The server's certificate with its chain, in PEM. It is reloaded when it changes. Without "
        "it, TLS is off.",
        name="tls-certificate",
    )
    key: str = setting("", TEXT, "The private key of the certificate, in PEM.", name="tls-key")
    authorities: str = setting(
        "",
        TEXT,
        "The CAs of client certificates, in PEM. The file is reloaded when it changes. Without "
        "`--token-keys` every client must present a certificate.",
        name="tls-client-ca",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust(Settings):
    """Authentication of clients."""

    token_keys: str = setting(
        "",
        TEXT,
        "The file with the keys that verify tokens. It is a JWK Set, whose keys for other "
        "algorithms and uses are skipped, a public key in PEM, or a secret of at least 32 bytes. "
        "It is reloaded when it changes. Without it, callers are guests.",
        group="Tokens and TLS",
    )
    tokens: TokenRules = part(TokenRules)
    proxy_names: frozenset[str] = setting(
        frozenset(),
        NAME_SET,
        "The DNS names in client certificates that identify proxies, separated by commas. They "
        "require `--tls-client-ca`, and `--token-keys`: without keys, any client may act as a "
        "proxy.",
    )
    tls: TlsFiles = part(ServerTls)

    def __post_init__(self) -> None:
        """Checks each setting, and that they go together.

        Raises:
            ValueError: one is wrong; the text names it.
        """
        Settings.__post_init__(self)
        if self.tls.authorities and not self.tls.certificate:
            raise ValueError("tls-client-ca needs a tls-certificate")
        if self.proxy_names and not self.tls.authorities:
            raise ValueError("proxy-names need a tls-client-ca")
        if self.proxy_names and not self.token_keys:
            raise ValueError("proxy-names need token-keys: without them, anyone may be a proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Settings):
    """The settings of a server. ``:memory:`` as its database is `IN_MEMORY`.

    The URL of a database may hold a password: it is not part of what is printed.
    """

    host: str = setting(
        "0.0.0.0",  # noqa: S104 - the contract's address
        HOST,
        "The address to listen on. The default is every IPv4 address of the machine: use "
        "`127.0.0.1` if others can reach the port and there are no `--token-keys`.",
        group="Address and database",
    )
    port: int = setting(
        50051, PORT, "The TCP port. 0 selects a free one, which the ready line shows."
    )
    database: str = setting(
        "data/chat.db",
        text(_check_database),
        "The SQLite file, created with its folder if missing. `:memory:` keeps the history in "
        "memory, and loses it at exit. `postgresql://user@host/name` is a database that several "
        "servers may share; it needs the extra `postgresql`. `host1,host2` are the servers of one "
        "cluster: the one that takes writes is used.",
        secret=True,
    )
    database_password_file: str = setting(
        "",
        TEXT,
        "The file with the password of the PostgreSQL user, read at each connection. Without it, "
        "the password is that of `PGPASSWORD`, `~/.pgpass`, or the URL.",
    )
    hints: str = setting(
        "",
        text(_check_hints),
        "How servers that share a database wake each other when they stored a message. Empty: by "
        "NOTIFY of PostgreSQL. `valkey://host:port` (`valkeys://` with TLS; also `redis://` and "
        "`rediss://`): by the sharded publish/subscribe of Valkey or Redis, which takes that load "
        "off the database. Hints may be lost: see `--sweep-seconds`.",
        secret=True,
    )
    hints_password_file: str = setting(
        "",
        TEXT,
        "The file with the password of `--hints`, read at each connection. Without it, the "
        "password is that of the URL, which anybody on the machine may read in a command line.",
    )
    sweep_seconds: float = setting(
        5.0,
        duration(),
        "How often a server that shares its database looks by itself for messages that others "
        "stored in rooms of its clients: how late one is whose hint was lost.",
    )
    limits: Limits = part(Limits)
    connection_limits: ConnectionLimits = part(ConnectionLimits)
    rates: Rates = part(UserRates)
    trust: Trust = part(Trust)
    mailbox_bytes: int = setting(
        1024 * 1024,
        whole(1),
        "The bytes that may wait for a gRPC client that does not read before its stream is ended.",
        group="Queues and stopping",
    )
    relay_mailbox_bytes: int = setting(
        64 * 1024 * 1024,
        whole(1),
        "The bytes that may wait for a proxy, likewise; it serves many clients.",
    )
    replay_messages: int = setting(
        10_000,
        whole(),
        "The maximum number of missed messages that a `join` on `Chat` replays. A client that "
        "missed more has to page through the history.",
    )
    write_queue_bytes: int = setting(
        16 * 1024 * 1024,
        whole(1),
        "The bytes that may wait for the disk before the server stops reading from senders.",
    )
    scrub_seconds: float = setting(
        3600.0,
        SECONDS,
        "Within which time a text that was deleted or replaced is gone from the SQLite file and "
        "its log, and not only from every answer. For half of it nothing is done, so that what is "
        "deleted meanwhile goes with it; 0 begins at once. See "
        "[erasing a person](operations.md#erasing-a-person).",
    )
    drain_seconds: float = setting(10.0, SECONDS, "The time that a stop waits for calls to end.")
    metrics_host: str = metrics_host()
    metrics_port: int | None = metrics_port(9464)
