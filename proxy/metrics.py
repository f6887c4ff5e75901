"""Counters of the proxy, with their names for Prometheus."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from gen.chat import Error, ErrorCode
from hosting.telemetry.families import counter, counters, gauge, histogram
from hosting.telemetry.histogram import SECONDS, SIZES, Histogram

_CODES: Final = {int(code): code.name or "" for code in ErrorCode}


@dataclass(slots=True)
class ProxyMetrics:
    """Figures of the proxy.

    Attributes:
        busy: messages by room since it was last read; `None` while nobody reads it.
    """

    connections_limit: float = gauge(
        "proxy_connections_limit",
        "Limit of connections: `--connections`, or fewer if the limit of open files is lower; "
        "`+Inf` inside a program that runs the proxy without its own port.",
        inf,
    )
    opened: int = counter("proxy_connections_opened_total", "Accepted WebSocket connections.")
    closed: Counter[str] = counters(
        "proxy_connections_closed_total",
        "Closed connections, by close `code`: 1006 if the client disconnected without a close "
        "frame, `other` for codes without a meaning.",
        ("code",),
    )
    turned_away: Counter[str] = counters(
        "proxy_handshakes_refused_total",
        "Rejected handshakes, by `reason`: `origin`, a page of another origin; `rate`, above "
        "`--handshakes-per-second` of an address; `address`, above `--connections-per-address`; "
        "`full`, at the limit of connections.",
        ("reason",),
        ("origin", "rate", "address", "full"),
    )
    slow_consumers: int = counter("proxy_slow_consumers_total", "Clients closed with 4008.")
    dead_clients: int = counter(
        "proxy_dead_clients_total",
        "Clients dropped because they did not answer a ping.",
    )
    received: int = counter("proxy_messages_received_total", "Accepted messages of clients.")
    arrived: int = counter(
        "proxy_messages_arrived_total",
        "Room messages from the chat server, including those of own clients.",
    )
    deliveries: int = counter(
        "proxy_deliveries_total",
        "Messages written to clients, once for each member of the room.",
    )
    replayed: int = counter(
        "proxy_replayed_messages_total", "Messages read from the history for joins."
    )
    changed: int = counter(
        "proxy_changed_messages_total",
        "Changed messages that the chat server told of; of several changes at a time of one "
        "message it tells once.",
    )
    change_deliveries: int = counter(
        "proxy_change_deliveries_total",
        "Frames of changes written to clients, once for each follower of the room. One frame may "
        "tell of many messages.",
    )
    replayed_changes: int = counter(
        "proxy_replayed_changes_total", "Changed messages read for joins."
    )
    typing: int = counter(
        "proxy_typing_total",
        "`typing` frames of clients that were passed on: not those that came too soon, nor those "
        "in rooms with too many users.",
    )
    people_deliveries: Counter[str] = counters(
        "proxy_people_deliveries_total",
        "Frames of who is in a room and who types there written to clients, by `kind`.",
        ("kind",),
        ("room_presence", "typists"),
    )
    people_skipped: Counter[str] = counters(
        "proxy_people_skipped_total",
        "Such frames that were left out for a client for whom much waited, by `kind`.",
        ("kind",),
        ("room_presence", "typists"),
    )
    joins: int = counter("proxy_joins_total", "Answered joins of clients.")
    resumes: Counter[str] = counters(
        "proxy_resumes_total",
        "Joins with a position, by `outcome`: `recovered` if the client got all later messages, "
        "else `lost`.",
        ("outcome",),
        ("recovered", "lost"),
    )
    room_resumes: Counter[str] = counters(
        "proxy_room_resumes_total",
        "Rooms resumed after a reconnect to the chat server, by `outcome`: `recovered` if they "
        "continued without a gap, else `lost`.",
        ("outcome",),
        ("recovered", "lost"),
    )
    links: int = 0
    link_failures: int = counter(
        "proxy_upstream_failures_total",
        "Failures of the link to the chat server: lost, or not opened.",
    )
    moves: Counter[str] = counters(
        "proxy_upstream_moves_total",
        "Moves of the link from one chat server to another that its clients did not notice, by "
        "`reason`: `recycle`, drawn anew after `--upstream-recycle-seconds`; `not_serving`, the "
        "server could not store messages, and the other one can.",
        ("reason",),
        ("recycle", "not_serving"),
    )
    errors: Counter[str] = counters(
        "proxy_errors_total",
        "Error frames to clients, by `code`.",
        ("code",),
        (name for code, name in _CODES.items() if code),
    )
    calls: Counter[tuple[str, str]] = counters(
        "proxy_calls_total",
        "Unary calls for clients and for replays, by `call` and `status`.",
        ("call", "status"),
    )
    sent_batches: Histogram = histogram(
        "proxy_sent_batch_commands",
        "Commands in a batch to the chat server.",
        SIZES,
    )
    received_batches: Histogram = histogram(
        "proxy_received_batch_events",
        "Events in a batch from the chat server. One event may confirm many messages.",
        SIZES,
    )
    delivery_seconds: Histogram = histogram(
        "proxy_delivery_seconds",
        "Time from the arrival of a client's message until it was written to the members of its "
        "room here. Messages from other proxies and gRPC clients are not counted.",
        SECONDS,
    )
    busy: dict[str, int] | None = None

    def delivered(self, messages: int, deliveries: int, came: Sequence[float]) -> None:
        """A batch was written.

        Args:
            messages: the number of messages.
            deliveries: the number of copies, one for each member.
            came: the times at which the messages of this proxy's own clients came.
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
        if asked or recovered:
            self.resumes["recovered" if recovered else "lost"] += 1

    def count_error(self, error: Error) -> Error:
        """Counts an error that a client is told; returns it."""
        self.errors[_CODES.get(int(error.code), "UNKNOWN")] += 1
        return error
