"""What the chat server tells of itself: its metrics, and the status page."""

from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Final, Protocol

from prometheus_client.core import Metric

from chat.core.hub import Hub
from hosting.telemetry.families import Family, collect
from hosting.telemetry.status import Chart, Series, Source, mean_and_most, quantiles, rate


class CountedConnections(Sized, Protocol):
    """The connections to the server.

    Attributes:
        opened: the number of connections that were given a place.
        refused: the number that were not.
        calls_refused: the number of calls refused before their caller was authenticated.
    """

    opened: int
    refused: int
    calls_refused: int


class Report(Source):
    """The figures of a server.

    Args:
        hub: the rooms, users and streams.
        write_queue_bytes: the bound of what waits for the disk.
    """

    title = "Chat server"

    def __init__(self, hub: Hub, connections: CountedConnections, write_queue_bytes: int) -> None:
        self.hub = hub
        self._metrics = hub.metrics
        self.connections = connections
        self.write_queue_bytes = write_queue_bytes
        # From now on somebody empties it.
        self._metrics.busy = {}
        self.charts = self._charts()

    def take_rooms(self) -> Mapping[str, int]:
        """See `Source`."""
        taken, self._metrics.busy = self._metrics.busy or {}, {}
        return taken

    def collect(self) -> Iterator[Metric]:
        """The metrics, as Prometheus asks for them."""
        yield from collect(self.hub.metrics)
        for family, read in FIGURES:
            yield family.metric(read(self))

    def _charts(self) -> tuple[Chart, ...]:
        hub, metrics = self.hub, self._metrics
        connected = (
            Series("connections", lambda: len(self.connections)),
            Series("streams", lambda: len(hub.streams)),
            Series("users", lambda: hub.active_users),
        )
        messages = (
            Series("in", rate(lambda: metrics.received)),
            Series("out", rate(lambda: metrics.deliveries)),
        )
        waiting = (
            Series("disk", lambda: hub.store.queued_bytes),
            Series("streams", self.mailbox_bytes),
        )
        return (
            Chart("Connected", "", connected),
            Chart("Messages", "/s", messages),
            Chart("Latency, arrival to mailboxes", "s", quantiles(metrics.delivery_seconds)),
            Chart("Commit time", "s", quantiles(metrics.store.commit_seconds)),
            Chart("Messages in a commit", "", mean_and_most(metrics.store.commit_messages)),
            Chart("Waiting for", "B", waiting),
        )

    def mailbox_bytes(self) -> int:
        """How much waits for all live streams."""
        return sum(stream.waiting_bytes for stream in self.hub.streams)


FIGURES: Final[tuple[tuple[Family, Callable[[Report], float]], ...]] = (
    (
        Family("chat_connections", "gauge", "Open connections. A proxy has one."),
        lambda it: len(it.connections),
    ),
    (
        Family("chat_connections_opened_total", "counter", "Accepted connections."),
        lambda it: it.connections.opened,
    ),
    (
        Family(
            "chat_connections_refused_total",
            "counter",
            "Connections refused by a limit: `--connections`, `--connections-per-address`, or 100 "
            "new ones a second from one address.",
        ),
        lambda it: it.connections.refused,
    ),
    (
        Family(
            "chat_calls_refused_total",
            "counter",
            "Calls refused by the limit per address: `--calls-per-address`, before the caller is "
            "authenticated.",
        ),
        lambda it: it.connections.calls_refused,
    ),
    (
        Family(
            "chat_streams", "gauge", "Open live streams: `Chat` of clients, and `Relay` of proxies."
        ),
        lambda it: len(it.hub.streams),
    ),
    (
        Family("chat_active_users", "gauge", "Users with an open connection."),
        lambda it: it.hub.active_users,
    ),
    (
        Family(
            "chat_mailbox_bytes",
            "gauge",
            "Bytes in the mailboxes of all live streams.",
        ),
        Report.mailbox_bytes,
    ),
    (
        Family(
            "chat_rooms",
            "gauge",
            "Rooms with a stream in them. A proxy's stream is in each room of its clients.",
        ),
        lambda it: len(it.hub.rooms),
    ),
    (
        Family("chat_attended_rooms", "gauge", "Rooms with users in them, at any node."),
        lambda it: len(it.hub.present),
    ),
    (
        Family(
            "chat_watched_rooms",
            "gauge",
            "Rooms of which a stream follows who is there, or a call has asked within a minute.",
        ),
        lambda it: it.hub.present.watched,
    ),
    (
        Family(
            "chat_room_members", "gauge", "Streams in rooms: one in three rooms counts three times."
        ),
        lambda it: it.hub.rooms.count_members(),
    ),
    (
        Family(
            "chat_store_serving",
            "gauge",
            "1 while messages can be stored, else 0: then senders get `UNAVAILABLE`, and the "
            "health service reports NOT_SERVING.",
        ),
        lambda it: it.hub.store.health.is_serving,
    ),
    (
        Family("chat_write_queue_bytes", "gauge", "Bytes that wait for the disk."),
        lambda it: it.hub.store.queued_bytes,
    ),
    (
        Family(
            "chat_write_queue_limit_bytes",
            "gauge",
            "Limit of the bytes that wait for the disk before senders are held back: "
            "`--write-queue-bytes`.",
        ),
        lambda it: it.write_queue_bytes,
    ),
)
"""Figures that are read when somebody asks."""
