"""Bounds of the connections to a server."""

from dataclasses import dataclass

from hosting.kinds import RATE, duration, whole
from hosting.settings import Settings, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits(Settings):
    """Bounds of the connections to the server."""

    connections: int = setting(
        1000,
        whole(1, 2**31 - 1),
        "The maximum number of connections; the process needs as many open files, plus a few. At "
        "the limit, a connection that has sent nothing yet is closed for a new one, or, where "
        "tokens are required, one without a valid token; if there is none, the new one is refused.",
        group="Connections",
    )
    streams_per_connection: int = setting(
        100,
        whole(1, 2**31 - 1),
        "The maximum number of open calls on one connection. A further call gets "
        "`REFUSED_STREAM`; the others go on.",
    )
    handshake_seconds: float = setting(
        10.0,
        duration(),
        "The time for a client to send the HTTP/2 preface before it is dropped.",
    )
    stall_seconds: float = setting(
        60.0,
        duration(),
        "The time that a client's socket may be full, with nothing read, before it is dropped.",
    )
    heartbeat_seconds: float = setting(
        30.0,
        duration(),
        "The longest silence before a client gets an HTTP/2 PING. If it does not reply within "
        "half of it, it is dropped, and its users are inactive. While its socket is full, "
        "`--stall-seconds` applies instead.",
    )
    idle_seconds: float = setting(
        300.0,
        duration(),
        "The time without a call after which a connection gets GOAWAY and is closed. A gRPC "
        "client opens another one with its next call.",
    )
    connections_per_address: int = setting(
        0,
        whole(),
        "The maximum number of connections from one address, or from one IPv6 /64 network. 0 "
        "means no limit, as needed behind a front proxy, which is one address. Set it where "
        "clients connect directly.",
    )
    calls_per_address: float = setting(
        200.0,
        RATE,
        "The unauthenticated calls a second from one address, or from one IPv6 /64 network, in "
        "bursts of ten seconds' worth. These are calls of guests, with invalid tokens, health "
        "checks, reflection, and unknown methods. Each connection is also limited to 25 a second, "
        "or to 100 once a token was accepted on it. Calls with a valid token do not count, nor do "
        "those of a proxy once it has opened its batch stream. 0 means no limit, as needed behind "
        "a front proxy, which is one address: then frames and new connections are not counted by "
        "address either.",
    )
