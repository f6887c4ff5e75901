"""What the proxy tells of itself: names for what is counted, and the status page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from aiohttp import WSCloseCode
from prometheus_client.core import Metric

from gen.chat import ErrorCode
from hosting.telemetry.families import counter, counters, gauge, histogram
from hosting.telemetry.status import Chart, Line, Source, mean_and_most, quantiles, rate
from proxy.core.switchboard import Switchboard
from proxy.errors import CloseCode
from proxy.http.websocket import WebSockets
from proxy.metrics import TURNED_AWAY, ProxyMetrics

# 1005: the client closed without a code (RFC 6455, section 7.1.5).
_KNOWN_CODES: Final = frozenset((*map(int, CloseCode), *map(int, WSCloseCode), 1005))


class Report(Source):
    """The figures of a proxy.

    Args:
        metrics: what was counted.
        websockets: its clients.
        switchboard: its rooms, and what is between them and the server.
        hold_bytes: the bound of unconfirmed messages.
    """

    title = "Proxy"

    def __init__(
        self,
        metrics: ProxyMetrics,
        websockets: WebSockets,
        switchboard: Switchboard,
        hold_bytes: int,
    ) -> None:
        self._metrics = metrics
        self._websockets = websockets
        self._switchboard = switchboard
        self._hold_bytes = hold_bytes
        # From now on somebody empties it.
        metrics.busy = {}
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
        yield from self._upstream_metrics()

    def _charts(self) -> tuple[Chart, ...]:
        metrics, rooms = self._metrics, self._switchboard.rooms
        connected = (
            Line("clients", lambda: len(self._websockets)),
            Line("rooms", lambda: len(rooms)),
        )
        messages = (
            Line("in", rate(lambda: metrics.received)),
            Line("out", rate(lambda: metrics.deliveries)),
        )
        waiting = (
            Line("server", lambda: self._switchboard.sends.waiting_bytes),
            Line("clients", lambda: self._websockets.waiting_bytes),
        )
        troubles = (
            Line("errors", rate(metrics.errors.total)),
            Line("slow clients", rate(lambda: metrics.slow_consumers)),
            Line("links lost", rate(lambda: metrics.link_failures)),
        )
        return (
            Chart("Connected", "", connected),
            Chart("Messages", "/s", messages),
            Chart("Latency, frame to members", "s", quantiles(metrics.delivery_seconds)),
            Chart("Commands in a batch", "", mean_and_most(metrics.sent_batches)),
            Chart("Waiting for", "B", waiting),
            Chart("Troubles", "/s", troubles),
        )

    def _connection_metrics(self) -> Iterator[Metric]:
        metrics, websockets = self._metrics, self._websockets
        yield gauge("proxy_connections", "Open WebSocket connections.", len(websockets))
        limit = metrics.connections_limit
        yield gauge("proxy_connections_limit", "How many connections there may be.", limit)
        yield counter(
            "proxy_connections_opened_total",
            "WebSocket connections that were accepted.",
            metrics.opened,
        )
        # Here, too, those that were not met yet.
        turned_away = [((why,), metrics.turned_away[why]) for why in TURNED_AWAY]
        yield counters(
            "proxy_handshakes_refused_total",
            "Clients that got no WebSocket, by reason.",
            ("reason",),
            turned_away,
        )
        yield counters(
            "proxy_connections_closed_total",
            "Connections that have ended, by close code.",
            ("code",),
            _by_known_code(metrics.closed).items(),
        )
        # Also those that were not met yet: an alert sees the first one only as a rise.
        errors = [((code.name or "",), metrics.errors[code]) for code in ErrorCode if code]
        yield counters("proxy_errors_total", "Error frames to clients, by code.", ("code",), errors)
        yield counter(
            "proxy_slow_consumers_total",
            "Clients that were closed with 4008.",
            metrics.slow_consumers,
        )
        yield counter(
            "proxy_dead_clients_total",
            "Clients that were dropped because they did not answer a ping.",
            metrics.dead_clients,
        )
        yield gauge(
            "proxy_client_queue_bytes",
            "How many bytes wait in the sockets of all clients.",
            websockets.waiting_bytes,
        )

    def _message_metrics(self) -> Iterator[Metric]:
        metrics, rooms = self._metrics, self._switchboard.rooms
        yield gauge("proxy_rooms", "Rooms that a client is in.", len(rooms))
        yield gauge("proxy_room_members", "Clients in rooms.", rooms.count_members())
        yield counter(
            "proxy_messages_received_total",
            "Messages of clients that were taken on.",
            metrics.received,
        )
        yield counter(
            "proxy_messages_arrived_total",
            "Messages of rooms that the chat server brought, own ones too.",
            metrics.arrived,
        )
        yield counter(
            "proxy_deliveries_total",
            "Messages written to clients, once for each member of the room.",
            metrics.deliveries,
        )
        yield histogram(
            "proxy_delivery_seconds",
            "From the arrival of a client's message until the members of its room here got it.",
            metrics.delivery_seconds,
        )

    def _join_metrics(self) -> Iterator[Metric]:
        metrics = self._metrics
        clients = [(("recovered",), metrics.recovered), (("lost",), metrics.lost)]
        rooms = [(("recovered",), metrics.rooms_recovered), (("lost",), metrics.rooms_lost)]
        yield counter("proxy_joins_total", "Joins of clients that were answered.", metrics.joins)
        yield counters(
            "proxy_resumes_total",
            "Joins with a position, by outcome.",
            ("outcome",),
            clients,
        )
        yield counters(
            "proxy_room_resumes_total",
            "Rooms after the link to the chat server was made again, by outcome.",
            ("outcome",),
            rooms,
        )
        yield counter(
            "proxy_replayed_messages_total",
            "Messages read from the history for joins.",
            metrics.replayed,
        )

    def _upstream_metrics(self) -> Iterator[Metric]:
        metrics, outbox, sends = self._metrics, self._switchboard.outbox, self._switchboard.sends
        yield gauge(
            "proxy_upstream_connected",
            "1 while there is a link to the chat server, else 0.",
            outbox.is_open,
        )
        yield counter(
            "proxy_upstream_reconnects_total",
            "How often the link to the chat server was made again.",
            max(metrics.links - 1, 0),
        )
        yield counter(
            "proxy_upstream_failures_total",
            "How often the link to the chat server was lost, or could not be made.",
            metrics.link_failures,
        )
        yield counters(
            "proxy_calls_total",
            "Unary calls for clients and for replays, by call and status.",
            ("call", "status"),
            metrics.calls.items(),
        )
        yield histogram(
            "proxy_sent_batch_commands",
            "How many commands there were in a batch to the chat server.",
            metrics.sent_batches,
        )
        yield histogram(
            "proxy_received_batch_events",
            "How many events there were in a batch from the chat server.",
            metrics.received_batches,
        )
        yield gauge(
            "proxy_upstream_queue_bytes",
            "How many bytes wait to be put on the link to the chat server.",
            outbox.size,
        )
        yield gauge(
            "proxy_unconfirmed_messages",
            "Messages of clients that are not confirmed yet.",
            sends.waiting_messages,
        )
        yield gauge(
            "proxy_unconfirmed_bytes",
            "Bytes of the messages of clients that are not confirmed yet.",
            sends.waiting_bytes,
        )
        yield gauge(
            "proxy_unconfirmed_limit_bytes",
            "How many bytes of messages may be unconfirmed.",
            self._hold_bytes,
        )


def _by_known_code(closed: Mapping[int, int]) -> Counter[tuple[str, ...]]:
    """By the codes that have a meaning; clients may send any number."""
    found: Counter[tuple[str, ...]] = Counter()
    for code, count in closed.items():
        found[str(code) if code in _KNOWN_CODES else "other",] += count
    return found
