"""Checks what clients saw against what was stored, in the manner of Jepsen: no I/O.

Clients record what they do and see while things break. Afterwards `check` compares
the record with the guarantees of the service and reports each violation in a line.

Where messages may be lost, a history ends and another begins, with another epoch. All
guarantees hold in each of them; what must be found in the end is the last one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

# Identity of a message, stored once: room, sender, id.
Key = tuple[str, str, str]
# A position of a room.
Position = tuple[str, int]


class Message(NamedTuple):
    """A message as delivered or stored."""

    room: str
    seq: int
    sender: str
    id: str
    content: str

    @classmethod
    def of(cls, frame: dict[str, Any]) -> Message:
        return cls(
            frame["room_id"], frame["seq"], frame["sender_id"], frame["id"], frame["content"]
        )

    @property
    def key(self) -> Key:
        """Identity of the message."""
        return self.room, self.sender, self.id

    @property
    def position(self) -> Position:
        """The room and position of the message."""
        return self.room, self.seq


class Outcome(Enum):
    """Result of one attempt to send a message, for its sender."""

    CONFIRMED = "confirmed"
    REFUSED = "refused, as retryable"
    UNKNOWN = "never answered"


@dataclass(frozen=True, slots=True)
class Send:
    """One attempt to send a message.

    Attributes:
        seq: its stored position, if it was confirmed.
        epoch: the history that it was confirmed in, if the sender knew.
    """

    room: str
    sender: str
    id: str
    content: str
    outcome: Outcome
    seq: int = 0
    epoch: str = ""

    @property
    def key(self) -> Key:
        """Identity of the message."""
        return self.room, self.sender, self.id


class Joined(NamedTuple):
    """Event: from here on a connection gets what follows a position of a room."""

    connection: str
    room: str
    after: int
    epoch: str = ""


class Spoke(NamedTuple):
    """Event: a connection sent to a room, which joins it at some later position."""

    connection: str
    room: str


class Left(NamedTuple):
    """Event: from here on a connection gets nothing of a room."""

    connection: str
    room: str


class Delivered(NamedTuple):
    """Event: a connection got a message.

    Attributes:
        again: whether it answers a repeated attempt to send. Such an answer may lie in
            the past of the room; then it is no delivery.
    """

    connection: str
    message: Message
    again: bool = False


Seen = Joined | Spoke | Left | Delivered


@dataclass(slots=True)
class History:
    """All observations of a test.

    Attributes:
        sends: each attempt to send a message.
        seen: events of all connections, in order for each connection.
        stored: the final history of every room, room by room.
        strays: unexpected frames, in words; each is a violation.
        losses: how many times messages may have been lost, each the end of a history.
        stayed: the clients that were in their rooms in the end.
    """

    sends: list[Send] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    stored: list[Message] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    losses: int = 0
    stayed: set[str] = field(default_factory=set)

    @property
    def epochs(self) -> list[str]:
        """The histories that clients were told of, in that order."""
        return list(dict.fromkeys(each.epoch for each in self.seen if isinstance(each, Joined)))

    def is_last(self, epoch: str) -> bool:
        """Whether that is the history in the end; an unknown one is, if there is one alone."""
        epochs = self.epochs or [""]
        return epoch == epochs[-1] or (not epoch and len(epochs) == 1)

    def deliveries(self) -> Iterator[Delivered]:
        """All deliveries, over all connections."""
        return (event for event in self.seen if isinstance(event, Delivered))

    def got(self, client: str, room: str) -> list[int]:
        """The positions that a client got of a room, over all its connections.

        Args:
            client: name of the client; its connections are ``client/1`` and so on.
            room: the room.

        Returns:
            The positions, without repeated answers from the past.
        """
        got: list[int] = []
        for connection, message, again in self.deliveries():
            past = again and got and message.seq <= got[-1]
            if (connection.partition("/")[0], message.room) == (client, room) and not past:
                got.append(message.seq)
        return got


def check(history: History) -> list[str]:
    """Finds violations of the guarantees.

    Returns:
        The violations, a line for each.
    """
    delivered = list(_deliveries(history))
    return [
        *history.strays,
        *_check_epochs(history),
        *_check_positions(history.stored),
        *_check_names(history.stored),
        *_check_origin(history),
        *_check_confirmed(history),
        *_check_delivered(history, delivered),
        *_check_agreement(delivered),
        *_check_order(history.seen),
    ]


def _deliveries(history: History) -> Iterator[tuple[str, Delivered]]:
    """Deliveries with their epochs, by the connection's latest join; without, it is unknown."""
    all_epochs = history.epochs or [""]
    alone = all_epochs[0] if len(all_epochs) == 1 else None
    epochs: dict[tuple[str, str], str] = {}
    for event in history.seen:
        match event:
            case Joined(connection, room, epoch=epoch):
                epochs[connection, room] = epoch
            case Left(connection, room):
                epochs.pop((connection, room), None)
            case Delivered(connection, message):
                known_as = epochs.get((connection, message.room), alone)
                if known_as is not None:
                    yield known_as, event


def _check_epochs(history: History) -> Iterator[str]:
    """There is another history only after a loss; who stays is told of each."""
    epochs = history.epochs
    if len(epochs) > history.losses + 1:
        yield f"there were {len(epochs)} histories, and {history.losses} losses"
    last: dict[tuple[str, str], str] = {}
    for event in history.seen:
        if isinstance(event, Joined):
            place = event.connection.partition("/")[0], event.room
            before, last[place] = last.get(place, ""), event.epoch
            if before and epochs.index(before) > epochs.index(event.epoch):
                yield f"{event.room}: {event.connection} went back to {event.epoch}"
    for (client, room), epoch in last.items():
        if client in history.stayed and epoch != epochs[-1]:
            yield f"{room}: {client} was never told of {epochs[-1]}"


def _check_positions(stored: Iterable[Message]) -> Iterator[str]:
    """Positions of each room count from 1 without gaps."""
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
    """Each stored message was sent, with that text."""
    sent = {send.key: send.content for send in history.sends}
    for message in history.stored:
        if message.key not in sent:
            yield f"{message.room}: {message.id} of {message.sender} is stored, but was never sent"
        elif message.content != sent[message.key]:
            yield f"{message.room}: {message.id} of {message.sender} is stored with another text"


def _check_confirmed(history: History) -> Iterator[str]:
    stored = {message.position: message.key for message in history.stored}
    for send in history.sends:
        if send.outcome is not Outcome.CONFIRMED or not history.is_last(send.epoch):
            continue
        if stored.get((send.room, send.seq)) != send.key:
            name = f"{send.room}: {send.id} of {send.sender}"
            yield f"{name} was confirmed, but is not stored at {send.seq}"


def _check_delivered(
    history: History, deliveries: Iterable[tuple[str, Delivered]]
) -> Iterator[str]:
    stored = {message.position: message for message in history.stored}
    last = (history.epochs or [""])[-1]
    for epoch, (connection, message, _) in deliveries:
        if epoch == last and stored.get(message.position) != message:
            name = f"{message.room}: {message.id} of {message.sender}"
            yield f"{name} was delivered to {connection}, but is not stored at {message.seq}"


def _check_agreement(deliveries: Iterable[tuple[str, Delivered]]) -> Iterator[str]:
    """Under one epoch, a position never has two messages."""
    first: dict[tuple[str, Position], Delivered] = {}
    for epoch, delivered in deliveries:
        message = delivered.message
        other = first.setdefault((epoch, message.position), delivered)
        if other.message != message:
            first_saw = f"{other.connection} saw {other.message.id}"
            then_saw = f"{delivered.connection} saw {message.id}"
            yield f"{message.room}: at {message.seq}, {first_saw} and {then_saw}"


class _Reader:
    """Progress of one connection in one room."""

    def __init__(self, joined: Joined | None = None) -> None:
        # A connection that joins by sending begins at its first message.
        self._last = joined.after if joined else None
        self._seen: set[int] = set()
        self._asked = joined is not None

    def join(self, joined: Joined) -> _Reader:
        """Starts anew at the position of a join."""
        reader = _Reader(joined)
        if not self._asked:
            # Its first join: everything so far belongs to the messages from now on.
            reader._seen = self._seen
        return reader

    def problem(self, seq: int, *, again: bool) -> str | None:
        """Takes the next message; returns a description of a wrong position."""
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
    """Each connection gets exactly what follows the position of its join."""
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
