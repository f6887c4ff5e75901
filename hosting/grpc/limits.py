"""The bounds of connections to a server, checked where they are built."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from hosting.rate_limits import check_rate


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What the connections to the server may do.

    Attributes:
        connections: how many there may be; when there are as many, one makes room for
            the next that has said nothing yet, or nothing with a token if those are asked for.
        connections_per_address: how many there may be from one address, likewise; 0 for
            no limit.
        streams_per_connection: how many calls may be open on each.
        handshake_seconds: how long a client may take to say that it speaks HTTP/2.
        stall_seconds: how long a client's socket may be full without taking anything.
        heartbeat_seconds: after how long a silent client is pinged; one that does not
            answer within half of it is dropped.
        idle_seconds: how long a connection may be without a call.
        calls_per_address: how many calls a second there may be from one address whose
            callers are not known; 0 for no limit. See `hosting.grpc.allowances`.
    """

    connections: int = 1000
    streams_per_connection: int = 100
    handshake_seconds: float = 10.0
    stall_seconds: float = 60.0
    heartbeat_seconds: float = 30.0
    idle_seconds: float = 300.0
    connections_per_address: int = 0
    calls_per_address: float = 200.0

    def __post_init__(self) -> None:
        """Checks each limit.

        Raises:
            ValueError: a limit is out of range; the text names it.
        """
        for name, count in (
            ("connections", self.connections),
            ("streams-per-connection", self.streams_per_connection),
        ):
            if not 1 <= count < 2**31:
                raise ValueError(f"{name} must be from 1 to 2147483647")
        if self.connections_per_address < 0:
            raise ValueError("connections-per-address must not be negative")
        for name, seconds in (
            ("handshake-seconds", self.handshake_seconds),
            ("stall-seconds", self.stall_seconds),
            ("heartbeat-seconds", self.heartbeat_seconds),
            ("idle-seconds", self.idle_seconds),
        ):
            if not (isfinite(seconds) and seconds > 0):
                raise ValueError(f"{name} must be a finite number, more than 0")
        check_rate("calls-per-address", self.calls_per_address)
