"""What the chat server tells of itself: names for what is counted, and the status page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Final, Protocol

from prometheus_client.core import Metric

from chat.core.hub import Hub
from gen.chat import ChatServiceBase, ErrorCode, RelayServiceBase
from hosting.telemetry.families import counter, counters, gauge, histogram
from hosting.telemetry.status import Chart, Line, Source, mean_and_most, quantiles, rate

_CODES: Final = tuple(code.name or "" for code in ErrorCode if code)
# A defect in each method of the schema.
_DEFECTS: Final = {
    (path, "INTERNAL"): 0
    for service in (ChatServiceBase(), RelayServiceBase())
    for path in service.__mapping__()
}


class CountedConnections(Sized, Protocol):
    """The connections to the server.

    Attributes:
        opened: how many there have been.
        refused: for how many there was no room.
        calls_refused: how many calls were, before anybody knew who makes them.
    """

    opened: int
    refused: int
    calls_refused: int


class Report(Source):
    """The figures of a server.

    Args:
        hub: its hub.
        connections: its connections.
        write_queue_bytes: how much may wait for the disk.
    """

    title = "Chat server"

    def __init__(self, hub: Hub, connections: CountedConnections, write_queue_bytes: int) -> None:
        self._hub = hub
        self._metrics = hub.metrics
        self._connections = connections
        self._write_queue_bytes = write_queue_bytes
        # From now on somebody empties it.
        self._metrics.busy = {}
        self.charts = self._charts()

    def take_rooms(self) -> Mapping[str, int]:
        """See `Source`."""
        taken, self._metrics.busy = self._metrics.busy or {}, {}
        return taken

    def collect(self) -> Iterator[Metric]:
        """The metrics, as Prometheus asks for them."""
        yield from self._connection_metrics()
        yield from self._message_metrics()
        yield from self._join_metrics()
        yield from self._store_metrics()

    def _charts(self) -> tuple[Chart, ...]:
        hub, metrics = self._hub, self._metrics
        connected = (
            Line("connections", lambda: len(self._connections)),
            Line("streams", lambda: len(hub.streams)),
            Line("users", lambda: hub.active_users),
        )
        messages = (
            Line("in", rate(lambda: metrics.received)),
            Line("out", rate(lambda: metrics.deliveries)),
        )
        waiting = (
            Line("disk", lambda: hub.store.queued_bytes),
            Line("streams", self._mailbox_bytes),
        )
        return (
            Chart("Connected", "", connected),
            Chart("Messages", "/s", messages),
            Chart("Latency, arrival to mailboxes", "s", quantiles(metrics.delivery_seconds)),
            Chart("Commit time", "s", quantiles(metrics.store.commit_seconds)),
            Chart("Messages in a commit", "", mean_and_most(metrics.store.commit_messages)),
            Chart("Waiting for", "B", waiting),
        )

    def _mailbox_bytes(self) -> int:
        return sum(stream.waiting_bytes for stream in self._hub.streams)

    def _connection_metrics(self) -> Iterator[Metric]:
        metrics, hub, connections = self._metrics, self._hub, self._connections
        # Also those that were not met yet, as with the calls: an alert sees the first one
        # only as a rise.
        errors = [((code,), metrics.errors[code]) for code in _CODES]
        yield gauge("chat_connections", "Open connections.", len(connections))
        yield counter(
            "chat_connections_opened_total", "Connections that were accepted.", connections.opened
        )
        yield counter(
            "chat_connections_refused_total",
            "Connections that were refused because there were too many.",
            connections.refused,
        )
        yield counter(
            "chat_calls_refused_total",
            "Calls that were refused because an address made too many.",
            connections.calls_refused,
        )
        yield gauge("chat_streams", "Open live streams.", len(hub.streams))
        yield gauge("chat_active_users", "Users for whom a connection is open.", hub.active_users)
        yield counters(
            "chat_calls_total",
            "Calls that have ended, by method and status.",
            ("method", "status"),
            (_DEFECTS | metrics.calls).items(),
        )
        yield counters(
            "chat_errors_total",
            "Errors told on live streams that go on, by code.",
            ("code",),
            errors,
        )
        yield counter(
            "chat_slow_consumers_total",
            "Streams that were ended because more waited for them than may.",
            metrics.slow_consumers,
        )
        yield gauge(
            "chat_mailbox_bytes",
            "How many bytes wait in the mailboxes of all live streams.",
            self._mailbox_bytes(),
        )

    def _message_metrics(self) -> Iterator[Metric]:
        metrics, rooms = self._metrics, self._hub.rooms
        yield gauge("chat_rooms", "Rooms that a stream is in.", len(rooms))
        yield gauge("chat_room_members", "Streams in rooms.", rooms.count_members())
        yield counter(
            "chat_messages_received_total",
            "Messages that were accepted, also those that had been stored before.",
            metrics.received,
        )
        yield counter(
            "chat_messages_stored_total", "Messages that were newly stored.", metrics.stored
        )
        yield counter(
            "chat_deliveries_total",
            "Messages put into the mailboxes of streams, once for each stream.",
            metrics.deliveries,
        )
        yield histogram(
            "chat_batch_commands",
            "How many commands there were in a batch of a proxy.",
            metrics.batches,
        )
        yield histogram(
            "chat_delivery_seconds",
            "From the arrival of a message until it was stored and in the mailboxes.",
            metrics.delivery_seconds,
        )

    def _join_metrics(self) -> Iterator[Metric]:
        metrics = self._metrics
        outcomes = [(("recovered",), metrics.recovered), (("lost",), metrics.lost)]
        yield counter("chat_joins_total", "Joins that were answered.", metrics.joins)
        yield counters(
            "chat_resumes_total",
            "Joins with a position, by outcome.",
            ("outcome",),
            outcomes,
        )
        yield counter(
            "chat_replayed_messages_total",
            "Messages read from the history for joins.",
            metrics.replayed,
        )

    def _store_metrics(self) -> Iterator[Metric]:
        store, limit = self._metrics.store, self._write_queue_bytes
        yield histogram(
            "chat_commit_seconds",
            "How long a commit took, the wait for the disk included.",
            store.commit_seconds,
        )
        yield histogram(
            "chat_commit_messages",
            "How many messages there were in a commit.",
            store.commit_messages,
        )
        yield counter("chat_commit_failures_total", "Commits that failed.", store.failures)
        yield gauge(
            "chat_store_serving",
            "1 while what is sent can be stored, else 0.",
            int(self._hub.store.health.is_serving),
        )
        queued = self._hub.store.queued_bytes
        yield gauge("chat_write_queue_bytes", "How many bytes wait for the disk.", queued)
        yield gauge(
            "chat_write_queue_limit_bytes",
            "How many bytes may wait for the disk before senders are held back.",
            limit,
        )
