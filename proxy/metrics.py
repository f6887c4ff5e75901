"""What the proxy counts. Plain attributes; `proxy.report` gives them names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Final

from gen.chat import Error
from hosting.telemetry.histogram import SECONDS, SIZES, Histogram

TURNED_AWAY: Final = ("origin", "rate", "address", "full")
"""A page of another origin; too many at once from one address, or open; the proxy is full."""


def _seconds() -> Histogram:
    return Histogram(SECONDS)


def _sizes() -> Histogram:
    return Histogram(SIZES)


@dataclass(slots=True)
class ProxyMetrics:
    """What is counted.

    Attributes:
        connections_limit: how many connections there may be.
        opened: WebSocket connections that were accepted.
        closed: connections that have ended, by close code; 1006 where there was none.
        turned_away: clients that were refused before they had a WebSocket, by why; see
            `TURNED_AWAY`.
        slow_consumers: clients that were closed because they did not read.
        dead_clients: clients that did not answer a ping.
        received: messages of clients that were taken on.
        arrived: messages that came from the server, own ones too.
        deliveries: messages written to clients as members of a room.
        replayed: messages read from the history for joins.
        joins: joins of clients that were answered.
        recovered: joins with a position that got all that came after it.
        lost: joins with a position that could not be given that.
        rooms_recovered: rooms that went on without a gap after the link was lost.
        rooms_lost: rooms that did not.
        links: how often the link to the server was made.
        link_failures: how often it could not be made, or ended.
        errors: error frames, by the number of the code.
        calls: unary calls, by the field that asked for them and how they ended.
        sent_batches: how many commands there were in each batch to the server.
        received_batches: how many events there were in each batch from the server.
        delivery_seconds: how long each message of a client of this proxy took from
            its arrival until it was written to the members of its room.
        busy: messages by room since it was last read; `None` while nobody reads it.
    """

    connections_limit: float = inf
    opened: int = 0
    closed: Counter[int] = field(default_factory=Counter)
    turned_away: Counter[str] = field(default_factory=Counter)
    slow_consumers: int = 0
    dead_clients: int = 0
    received: int = 0
    arrived: int = 0
    deliveries: int = 0
    replayed: int = 0
    joins: int = 0
    recovered: int = 0
    lost: int = 0
    rooms_recovered: int = 0
    rooms_lost: int = 0
    links: int = 0
    link_failures: int = 0
    errors: Counter[int] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent_batches: Histogram = field(default_factory=_sizes)
    received_batches: Histogram = field(default_factory=_sizes)
    delivery_seconds: Histogram = field(default_factory=_seconds)
    busy: dict[str, int] | None = None

    def delivered(self, messages: int, deliveries: int, came: Sequence[float]) -> None:
        """A batch was written.

        Args:
            messages: how many messages there were.
            deliveries: how many there were for all members.
            came: when those came that clients of this proxy had sent.
        """
        self.arrived += messages
        self.deliveries += deliveries
        self.delivery_seconds.observe_since(monotonic(), came)

    def joined(self, *, asked: bool, recovered: bool) -> None:
        """A join is answered.

        Args:
            asked: whether it came with a position.
            recovered: whether the client got all that came after it.
        """
        self.joins += 1
        if recovered:
            self.recovered += 1
        elif asked:
            self.lost += 1

    def refused(self, error: Error) -> Error:
        """Counts an error that a client is told; returns it."""
        self.errors[int(error.code)] += 1
        return error
