"""Figures of the proxy, for Prometheus and the status page."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric

from hosting.telemetry.families import Family, collect
from hosting.telemetry.status import Chart, Series, Source, mean_and_most, quantiles, rate
from proxy.core.switchboard import Switchboard
from proxy.http.websocket import WebSockets
from proxy.metrics import ProxyMetrics
from proxy.upstream.link import Link


class Report(Source):
    """The figures of a proxy.

    Args:
        metrics: the counters.
        websockets: its clients.
        switchboard: its rooms, and what is between them and the server.
        hold_bytes: the bound of unconfirmed messages.
        link: its way to the chat servers.
    """

    title = "Proxy"

    def __init__(
        self,
        metrics: ProxyMetrics,
        websockets: WebSockets,
        switchboard: Switchboard,
        hold_bytes: int,
        link: Link,
    ) -> None:
        self.metrics = metrics
        self.websockets = websockets
        self.switchboard = switchboard
        self.hold_bytes = hold_bytes
        self.link = link
        # From now on somebody empties it.
        metrics.busy = {}
        self.charts = self._charts()

    def take_rooms(self) -> Mapping[str, int]:
        """See `Source`."""
        taken, self.metrics.busy = self.metrics.busy or {}, {}
        return taken

    def note(self) -> str:
        """See `Source`: which of several chat servers the proxy is linked to."""
        if len(self.link.upstreams) < 2:
            return ""
        name = self.link.upstream
        return f"Linked to {name}" if name else "Linked to no chat server"

    def linked(self) -> Counter[str]:
        """Returns 1 for the chat server that the proxy is linked to, 0 for each other one."""
        return Counter({name: int(name == self.link.upstream) for name in self.link.upstreams})

    def collect(self) -> Iterator[Metric]:
        """The metrics, as Prometheus asks for them."""
        yield from collect(self.metrics)
        for family, read in FIGURES:
            yield family.metric(read(self))

    def _charts(self) -> tuple[Chart, ...]:
        metrics, rooms = self.metrics, self.switchboard.rooms
        connected = (
            Series("clients", lambda: len(self.websockets)),
            Series("rooms", lambda: len(rooms)),
        )
        messages = (
            Series("in", rate(lambda: metrics.received)),
            Series("out", rate(lambda: metrics.deliveries)),
        )
        waiting = (
            Series("server", lambda: self.switchboard.sends.size),
            Series("clients", lambda: self.websockets.waiting_bytes),
        )
        troubles = (
            Series("errors", rate(metrics.errors.total)),
            Series("slow clients", rate(lambda: metrics.slow_consumers)),
            Series("links lost", rate(lambda: metrics.link_failures)),
        )
        return (
            Chart("Connected", "", connected),
            Chart("Messages", "/s", messages),
            Chart("Latency, frame to members", "s", quantiles(metrics.delivery_seconds)),
            Chart("Commands in a batch", "", mean_and_most(metrics.sent_batches)),
            Chart("Waiting for", "B", waiting),
            Chart("Troubles", "/s", troubles),
        )


FIGURES: Final[tuple[tuple[Family, Callable[[Report], float | Counter[str]]], ...]] = (
    (
        Family("proxy_connections", "gauge", "Open WebSocket connections."),
        lambda it: len(it.websockets),
    ),
    (
        Family(
            "proxy_client_queue_bytes",
            "gauge",
            "Bytes that wait in the sockets of all clients.",
        ),
        lambda it: it.websockets.waiting_bytes,
    ),
    (
        Family("proxy_rooms", "gauge", "Rooms with a client in them."),
        lambda it: len(it.switchboard.rooms),
    ),
    (
        Family(
            "proxy_room_members",
            "gauge",
            "Clients in rooms: one in three rooms counts three times.",
        ),
        lambda it: it.switchboard.rooms.count_members(),
    ),
    (
        Family(
            "proxy_upstream_connected",
            "gauge",
            "1 while there is a link to the chat server, else 0.",
        ),
        lambda it: it.switchboard.outbox.is_open,
    ),
    (
        Family(
            "proxy_upstream_linked",
            "gauge",
            "1 for the `upstream` that the link goes to, else 0: each `HOST:PORT` of `--upstream` "
            "is one, however many addresses it has.",
            ("upstream",),
        ),
        lambda it: it.linked(),
    ),
    (
        Family(
            "proxy_upstream_reconnects_total",
            "counter",
            "Reconnects of the link to the chat server.",
        ),
        lambda it: max(it.metrics.links - 1, 0),
    ),
    (
        Family(
            "proxy_upstream_queue_bytes",
            "gauge",
            "Bytes that wait to be sent to the chat server.",
        ),
        lambda it: it.switchboard.outbox.size,
    ),
    (
        Family("proxy_unconfirmed_messages", "gauge", "Unconfirmed messages of clients."),
        lambda it: len(it.switchboard.sends),
    ),
    (
        Family(
            "proxy_unconfirmed_bytes",
            "gauge",
            "Bytes of the unconfirmed messages of clients.",
        ),
        lambda it: it.switchboard.sends.size,
    ),
    (
        Family(
            "proxy_unconfirmed_limit_bytes",
            "gauge",
            "Limit of the bytes of unconfirmed messages: `--hold-bytes`.",
        ),
        lambda it: it.hold_bytes,
    ),
)
"""Figures that are read when somebody asks."""
