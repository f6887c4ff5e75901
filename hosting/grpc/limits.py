"""Bounds of the connections to a server."""

from __future__ import annotations

from dataclasses import dataclass

from hosting.settings import RATE, Settings, duration, setting, whole


@dataclass(frozen=True, slots=True)
class ConnectionLimits(Settings):
    """Bounds of the connections to the server."""

    connections: int = setting(
        1000,
        whole(1, 2**31 - 1),
        "How many connections there may be; the process must be allowed as many open files, and "
        "some more. When there are as many, one that has said nothing yet makes room for the "
        "next, and where tokens are asked for, one on which nobody has presented a token that "
        "is believed; if there is none, the next is refused.",
        group="Connections",
    )
    streams_per_connection: int = setting(
        100,
        whole(1, 2**31 - 1),
        "How many calls may be open on one connection. One more is refused with "
        "`REFUSED_STREAM`; the others go on.",
    )
    handshake_seconds: float = setting(
        10.0,
        duration(),
        "How long a client may take to say that it speaks HTTP/2 before it is dropped.",
    )
    stall_seconds: float = setting(
        60.0,
        duration(),
        "How long a client's socket may be full without taking anything before it is dropped.",
    )
    heartbeat_seconds: float = setting(
        30.0,
        duration(),
        "After how long, at most, a silent client is pinged over HTTP/2. One that does not answer "
        "within half of it is dropped, and its users are inactive. While its socket is full, "
        "`--stall-seconds` counts instead.",
    )
    idle_seconds: float = setting(
        300.0,
        duration(),
        "How long a connection may be without a call before it is told to go away and closed. A "
        "gRPC client makes another one with its next call.",
    )
    connections_per_address: int = setting(
        0,
        whole(),
        "How many of the connections may be from one address; of IPv6, from one /64 network. 0 "
        "for no limit, as behind a proxy in front, which is one address. Set it where clients "
        "reach the port themselves.",
    )
    calls_per_address: float = setting(
        200.0,
        RATE,
        "How many calls a second may come from one address, of IPv6 from one /64 network, before "
        "it is known who makes them. These are calls of guests, with tokens that are not "
        "believed, health checks, reflection, methods that are not there; ten seconds' worth at "
        "once. Beside it each connection may make 25 a second, and one on which a token was "
        "believed 100. Calls whose token is believed do not count, nor do those of a proxy, once "
        "it has opened its batch stream. 0 for no limit, as behind a proxy in front, which is one "
        "address: then frames and new connections are not counted by address either.",
    )
