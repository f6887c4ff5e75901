"""Checks what clients saw against what was stored, in the manner of Jepsen: no I/O.

Clients write down what they do and see while things break. Afterwards `check` holds
all of it against the guarantees of the service, and tells each violation in a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

# Under which a message is stored once: room, sender, id.
Key = tuple[str, str, str]
# A position of a room.
Position = tuple[str, int]


class Message(NamedTuple):
    """A message, as it was delivered or is stored."""

    room: str
    seq: int
    sender: str
    id: str
    content: str

    @classmethod
    def of(cls, frame: dict[str, Any]) -> Message:
        """Reads the payload of a `chat_message` frame."""
        return cls(
            frame["room_id"], frame["seq"], frame["sender_id"], frame["id"], frame["content"]
        )

    @property
    def key(self) -> Key:
        """Its name."""
        return self.room, self.sender, self.id

    @property
    def position(self) -> Position:
        """Where it stands."""
        return self.room, self.seq


class Outcome(Enum):
    """How one try to send a message ended, for its sender."""

    CONFIRMED = "confirmed"
    REFUSED = "refused, as retryable"
    UNKNOWN = "never answered"


@dataclass(frozen=True, slots=True)
class Send:
    """One try to send a message.

    Attributes:
        seq: where it is stored, if it was confirmed.
    """

    room: str
    sender: str
    id: str
    content: str
    outcome: Outcome
    seq: int = 0

    @property
    def key(self) -> Key:
        """The name of the message."""
        return self.room, self.sender, self.id


class Joined(NamedTuple):
    """From here on a connection gets what comes after a position of a room."""

    connection: str
    room: str
    after: int


class Spoke(NamedTuple):
    """A connection sent to a room, which joins it: it may get what comes, from anywhere on."""

    connection: str
    room: str


class Left(NamedTuple):
    """From here on a connection gets nothing of a room."""

    connection: str
    room: str


class Delivered(NamedTuple):
    """A connection got a message.

    Attributes:
        again: whether it answers another try to send it. Such an answer may come from
            the past of the room: it is no delivery then.
    """

    connection: str
    message: Message
    again: bool = False


Seen = Joined | Spoke | Left | Delivered


@dataclass(slots=True)
class History:
    """All that was observed.

    Attributes:
        sends: each try to send a message.
        seen: what connections got, and what lets them; of each connection in its order.
        stored: the final history of every room, as it was read, room by room.
        strays: what nobody asked for, in words; each is a violation.
    """

    sends: list[Send] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    stored: list[Message] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    def deliveries(self) -> Iterator[Delivered]:
        """What came, on all connections."""
        return (event for event in self.seen if isinstance(event, Delivered))

    def got(self, client: str, room: str) -> list[int]:
        """What a client got of a room, over all its connections.

        Args:
            client: its connections are named after it: ``client/1`` and so on.
            room: the room.

        Returns:
            The positions. An answer to another try, from the past, does not count.
        """
        got: list[int] = []
        for connection, message, again in self.deliveries():
            past = again and got and message.seq <= got[-1]
            if (connection.partition("/")[0], message.room) == (client, room) and not past:
                got.append(message.seq)
        return got


def check(history: History) -> list[str]:
    """Finds what should not have been.

    Returns:
        The violations, a line for each; none if all is well.
    """
    return [
        *history.strays,
        *_check_positions(history.stored),
        *_check_names(history.stored),
        *_check_origin(history),
        *_check_confirmed(history),
        *_check_delivered(history),
        *_check_agreement(history.deliveries()),
        *_check_order(history.seen),
    ]


def _check_positions(stored: Iterable[Message]) -> Iterator[str]:
    """In each room, the positions count from 1 on."""
    last: Counter[str] = Counter()
    for message in stored:
        expected = last[message.room] + 1
        if message.seq != expected:
            yield f"{message.room}: {message.seq} is stored where {expected} should be"
        last[message.room] = message.seq


def _check_names(stored: Iterable[Message]) -> Iterator[str]:
    times = Counter(message.key for message in stored)
    for (room, sender, id_), number in times.items():
        if number > 1:
            yield f"{room}: {id_} of {sender} is stored {number} times"


def _check_origin(history: History) -> Iterator[str]:
    """What is stored was sent, with that text."""
    sent = {send.key: send.content for send in history.sends}
    for message in history.stored:
        if message.key not in sent:
            yield f"{message.room}: {message.id} of {message.sender} is stored, but was never sent"
        elif message.content != sent[message.key]:
            yield f"{message.room}: {message.id} of {message.sender} is stored with another text"


def _check_confirmed(history: History) -> Iterator[str]:
    stored = {message.position: message.key for message in history.stored}
    for send in history.sends:
        if send.outcome is not Outcome.CONFIRMED:
            continue
        if stored.get((send.room, send.seq)) != send.key:
            name = f"{send.room}: {send.id} of {send.sender}"
            yield f"{name} was confirmed, but is not stored at {send.seq}"


def _check_delivered(history: History) -> Iterator[str]:
    stored = {message.position: message for message in history.stored}
    for connection, message, _ in history.deliveries():
        if stored.get(message.position) != message:
            name = f"{message.room}: {message.id} of {message.sender}"
            yield f"{name} was delivered to {connection}, but is not stored at {message.seq}"


def _check_agreement(deliveries: Iterable[Delivered]) -> Iterator[str]:
    first: dict[Position, Delivered] = {}
    for delivered in deliveries:
        message = delivered.message
        other = first.setdefault(message.position, delivered)
        if other.message != message:
            first_saw = f"{other.connection} saw {other.message.id}"
            then_saw = f"{delivered.connection} saw {message.id}"
            yield f"{message.room}: at {message.seq}, {first_saw} and {then_saw}"


class _Reader:
    """One connection in one room: how far it has come since it joined."""

    def __init__(self, joined: Joined | None = None) -> None:
        # Who joins by sending begins where its first message stands.
        self._last = joined.after if joined else None
        self._seen: set[int] = set()
        self._asked = joined is not None

    def join(self, joined: Joined) -> _Reader:
        """Begins anew, where it asks to."""
        reader = _Reader(joined)
        if not self._asked:
            # It asked for nothing before: all it has got belongs to what it gets now.
            reader._seen = self._seen
        return reader

    def problem(self, seq: int, *, again: bool) -> str | None:
        """Takes the next message; says what is wrong with its place."""
        if again and (self._last is None or seq <= self._last):
            return None
        last, self._last = self._last, max(seq, self._last or 0)
        repeated = seq in self._seen
        self._seen.add(seq)
        if repeated:
            return f"got {seq} twice"
        if last is None or seq == last + 1:
            return None
        return f"got {seq} after {last}, " + ("a gap" if seq > last else "out of order")


def _check_order(seen: Iterable[Seen]) -> Iterator[str]:
    """Each connection gets what follows the position that it joined at, and nothing else."""
    readers: dict[tuple[str, str], _Reader] = {}
    for event in seen:
        match event:
            case Joined(connection, room):
                before = readers.get((connection, room), _Reader())
                readers[connection, room] = before.join(event)
            case Spoke(connection, room):
                readers.setdefault((connection, room), _Reader())
            case Left(connection, room):
                readers.pop((connection, room), None)
            case Delivered(connection, message, again):
                if reader := readers.get((connection, message.room)):
                    problem = reader.problem(message.seq, again=again)
                else:
                    problem = f"got {message.seq}, but was not in the room"
                if problem:
                    yield f"{message.room}: {connection} {problem}"
