"""What the chat server counts. Plain attributes; `chat.report` gives them names."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hosting.telemetry.histogram import SECONDS, SIZES, Histogram


def _seconds() -> Histogram:
    return Histogram(SECONDS)


def _sizes() -> Histogram:
    return Histogram(SIZES)


@dataclass(slots=True)
class StoreMetrics:
    """What a storage engine counts, in a thread of its own perhaps.

    Attributes:
        commit_seconds: how long each commit took.
        commit_messages: how many messages were in each commit.
        failures: how many commits failed.
    """

    commit_seconds: Histogram = field(default_factory=_seconds)
    commit_messages: Histogram = field(default_factory=_sizes)
    failures: int = 0

    def committed(self, seconds: float, messages: int) -> None:
        """A commit is on disk."""
        self.commit_seconds.observe(seconds)
        self.commit_messages.observe(messages)


@dataclass(slots=True)
class ServerMetrics:
    """What the rest of the server counts.

    Attributes:
        received: messages that were accepted, repeated ones too.
        stored: messages that were newly stored.
        deliveries: messages put into mailboxes, once for each stream that got one.
        joins: joins that were answered.
        recovered: joins with a position that got all that came after it.
        lost: joins with a position that could not be given that.
        replayed: messages read from the history for joins.
        slow_consumers: streams that were cut off.
        errors: errors told on streams that go on, by code.
        calls: calls that have ended, by method and status.
        batches: how many commands there were in each batch of a proxy.
        delivery_seconds: how long each message took from its arrival until it was
            stored and in the mailboxes.
        busy: messages by room since it was last read; `None` while nobody reads it.
        store: what the storage engine counts.
    """

    received: int = 0
    stored: int = 0
    deliveries: int = 0
    joins: int = 0
    recovered: int = 0
    lost: int = 0
    replayed: int = 0
    slow_consumers: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: Histogram = field(default_factory=_sizes)
    delivery_seconds: Histogram = field(default_factory=_seconds)
    busy: dict[str, int] | None = None
    store: StoreMetrics = field(default_factory=StoreMetrics)

    def joined(self, *, asked: bool, recovered: bool) -> None:
        """A join is answered.

        Args:
            asked: whether it came with a position.
            recovered: whether all that came after it is replayed.
        """
        self.joins += 1
        if recovered:
            self.recovered += 1
        elif asked:
            self.lost += 1
