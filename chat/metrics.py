"""What the chat server counts, with the names by which Prometheus gets it."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from gen.chat import ChatServiceBase, ErrorCode, RelayServiceBase
from hosting.telemetry.families import counter, counters, gauge, histogram, part
from hosting.telemetry.histogram import SECONDS, SIZES, Histogram

# A defect in each method of the schema.
_DEFECTS: Final = tuple(
    (path, "INTERNAL")
    for service in (ChatServiceBase(), RelayServiceBase())
    for path in service.__mapping__()
)


@dataclass(slots=True)
class StoreMetrics:
    """Figures of a storage engine, which may count in a thread of its own."""

    stored: int = counter(
        "chat_messages_stored_total", "Messages that this server stored, without repeated ones."
    )
    changed: int = counter(
        "chat_changes_stored_total",
        "Edits, deletions, reactions and pins that this server stored, without those that held "
        "already.",
    )
    commit_seconds: Histogram = histogram(
        "chat_commit_seconds",
        "Duration of a commit, including the wait for the disk.",
        SECONDS,
    )
    commit_messages: Histogram = histogram("chat_commit_messages", "Messages in a commit.", SIZES)
    failures: int = counter(
        "chat_commit_failures_total",
        "Failed commits; the senders got `UNAVAILABLE`.",
    )
    commit_wait_seconds: float = gauge(
        "chat_commit_wait_seconds",
        "How long the commit under way has waited for PostgreSQL. One that lacks its synchronous "
        "standby waits without an end.",
        0.0,
    )
    reconnects: int = counter(
        "chat_store_reconnects_total",
        "Connections to PostgreSQL that were lost by the writer, and opened again.",
    )
    epoch_changes: int = counter(
        "chat_epoch_changes_total",
        "Times that the history became another one while this server had it open: a failover "
        "may have lost messages, or an operator said so. Members of rooms are told.",
    )
    lease_seconds: float = gauge(
        "chat_lease_seconds",
        "Seconds until other servers take this one for dead, and its users for inactive; 0 without "
        "PostgreSQL.",
        0.0,
    )
    synchronous: float = gauge(
        "chat_synchronous",
        "1 if commits in PostgreSQL wait for a synchronous standby, else 0: then a failover may "
        "lose messages.",
        0.0,
    )
    followed_rooms: float = gauge(
        "chat_followed_rooms",
        "Rooms whose messages this server hears of because somebody is in them; 0 without "
        "PostgreSQL.",
        0.0,
    )
    hint_age_seconds: float = gauge(
        "chat_hint_age_seconds",
        "Seconds since the bus of hints brought anything, be it this server's own probe: more than "
        "a few times `--sweep-seconds` means that messages of other servers come late. 0 without "
        "PostgreSQL.",
        0.0,
    )
    follow_lag_seconds: Histogram = histogram(
        "chat_follow_lag_seconds",
        "Time from the storing of a message by another server until it was delivered here, by two "
        "clocks: the database's and this server's.",
        SECONDS,
    )
    sweep_seconds: Histogram = histogram(
        "chat_sweep_seconds",
        "Duration of a look at the positions of all followed rooms.",
        SECONDS,
    )
    sweep_found: int = counter(
        "chat_sweep_found_total",
        "Messages of other servers that were found by such a look, because no hint had told of "
        "them by then.",
    )

    scrub_waiting_seconds: float = gauge(
        "chat_scrub_waiting_seconds",
        "How long something that was deleted or replaced has waited to be removed from the SQLite "
        "file as well; 0 if nothing does. More than `--scrub-seconds`: the log has the reason.",
        0.0,
    )
    scrub_seconds: Histogram = histogram(
        "chat_scrub_seconds",
        "Duration of a scrub of the SQLite file, with its rests.",
        SECONDS,
    )
    scrub_failures: int = counter(
        "chat_scrub_failures_total",
        "Scrubs that failed; they are tried again.",
    )

    def committed(self, seconds: float, messages: int) -> None:
        """Counts a commit that is on disk."""
        self.commit_seconds.observe(seconds)
        self.commit_messages.observe(messages)


@dataclass(slots=True)
class ServerMetrics:
    """Figures of the rest of the server.

    Attributes:
        busy: messages by room since it was last read; `None` while nobody reads it.
    """

    received: int = counter(
        "chat_messages_received_total",
        "Accepted messages, including repeated ones.",
    )
    deliveries: int = counter(
        "chat_deliveries_total",
        "Messages put into the mailboxes of streams, once for each stream.",
    )
    joins: int = counter(
        "chat_joins_total", "Answered joins. A proxy joins a room for all its clients."
    )
    resumes: Counter[str] = counters(
        "chat_resumes_total",
        "Joins with a position, by `outcome`: `recovered` if all later messages are replayed, "
        "else `lost`.",
        ("outcome",),
        ("recovered", "lost"),
    )
    replayed: int = counter(
        "chat_replayed_messages_total", "Messages read from the history for joins."
    )
    changes: int = counter(
        "chat_changes_total",
        "Changed messages of rooms that somebody is in, as the store told of them.",
    )
    notices: int = counter(
        "chat_notices_total",
        "What was told beside messages and put into the mailboxes of streams that follow it, once "
        "for each stream: changes, at most four times a second for each room, and read marks.",
    )
    notices_skipped: int = counter(
        "chat_notices_skipped_total",
        "Who is there and who types, not told to a stream whose mailbox was more than half full.",
    )
    typing: int = counter(
        "chat_typing_total",
        "Times that a client or a proxy said that somebody types, without those that came too "
        "often.",
    )
    typing_dropped: int = counter(
        "chat_typing_dropped_total",
        "Times that a client of `Chat` said so again within 3 seconds: dropped.",
    )
    replayed_changes: int = counter(
        "chat_replayed_changes_total", "Changed messages read from the history for joins."
    )
    slow_consumers: int = counter(
        "chat_slow_consumers_total",
        "Streams ended because their client read too slowly.",
    )
    errors: Counter[str] = counters(
        "chat_errors_total",
        "Errors sent on live streams that go on, by `code`.",
        ("code",),
        (code.name or "" for code in ErrorCode if code),
    )
    calls: Counter[tuple[str, str]] = counters(
        "chat_calls_total",
        "Ended calls, by `method` and `status`; live streams too. `CANCELLED` includes clients "
        "that disconnected. `INTERNAL`, a defect, is exported from the start.",
        ("method", "status"),
        _DEFECTS,
    )
    batches: Histogram = histogram(
        "chat_batch_commands", "Commands in a batch from a proxy.", SIZES
    )
    delivery_seconds: Histogram = histogram(
        "chat_delivery_seconds",
        "Time from the arrival of a message until it was stored and in the mailboxes.",
        SECONDS,
    )
    marks_waiting: float = gauge(
        "chat_marks_waiting",
        "Calls of `MarkRead` that wait for the disk, or for their turn: at most a second.",
        0.0,
    )
    marks_shared: int = counter(
        "chat_marks_shared_total",
        "Read marks that were stored together with another one of the same user and room.",
    )
    erasures: float = gauge(
        "chat_erasures", "Users whose erasure is under way at this server.", 0.0
    )
    erased_messages: int = counter(
        "chat_erased_messages_total", "Messages that were deleted to erase their senders."
    )
    erasure_failures: int = counter(
        "chat_erasure_failures_total",
        "Erasures that failed and are gone on with later: the log says why.",
    )
    busy: dict[str, int] | None = None
    store: StoreMetrics = part(StoreMetrics)

    def joined(self, *, asked: bool, recovered: bool) -> None:
        """Counts a join that is answered.

        Args:
            asked: whether it came with a position.
            recovered: whether all that came after it is replayed.
        """
        self.joins += 1
        if asked or recovered:
            self.resumes["recovered" if recovered else "lost"] += 1
