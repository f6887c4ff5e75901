"""A model of the server that a switchboard talks to, and of the clients behind it.

The server does what `relay.py` of the chat server does, one step at a time, so
that links break and histories vanish between any two of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import betterproto

from gen.chat import (
    ChatMessage,
    Error,
    ErrorCode,
    Join,
    Joined,
    Leave,
    Left,
    Presence,
    RelayCommand,
    RelayEvent,
    Stored,
)
from proxy.core.client import Client
from proxy.core.outbox import Item, Outbox
from tests.kit.web import split_frames

Key = tuple[str, str, str]
# A reference, a message, and the stream's membership in the room at its arrival.
Pending = tuple[int, ChatMessage, object | None]


def key_of(message: ChatMessage) -> Key:
    return message.room_id, message.sender_id, message.id


@dataclass
class Stream:
    """One stream on the server's side."""

    inbox: list[RelayCommand] = field(default_factory=list)
    outbox: list[RelayEvent] = field(default_factory=list)
    rooms: dict[str, object] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)
    active: set[str] = field(default_factory=set)


class Server:
    """The model of the server."""

    def __init__(self) -> None:
        self.epoch = 1
        self.history: defaultdict[str, list[ChatMessage]] = defaultdict(list)
        self.stored: dict[Key, ChatMessage] = {}

    def lose_history(self) -> None:
        self.epoch += 1
        self.history.clear()
        self.stored.clear()

    def process(self, stream: Stream) -> None:
        """Handles the next command."""
        command = stream.inbox.pop(0)
        _, payload = betterproto.which_one_of(command, "command")
        match payload:
            case ChatMessage():
                self._send(stream, command.ref, payload)
            case Join():
                self._join(stream, command.ref, payload)
            case Leave():
                stream.rooms.pop(payload.room_id, None)
                stream.outbox.append(RelayEvent(ref=command.ref, left=Left(payload.room_id)))
            case Presence():
                (stream.active.add if payload.active else stream.active.discard)(payload.user_id)

    def commit(
        self, stream: Stream | None, sends: list[tuple[int, ChatMessage, object | None]]
    ) -> None:
        """Stores messages; notifies a stream that is still there."""
        fresh = [self._store(message) for _, message, _ in sends]
        if stream is None:
            return
        for (ref, message, _), new in zip(sends, fresh, strict=True):
            if new and message.room_id in stream.rooms:
                stored = Stored(refs=[ref], seqs=[message.seq])
                stream.outbox.append(RelayEvent(stored=stored))
        for (ref, message, token), new in zip(sends, fresh, strict=True):
            stayed = token is not None and stream.rooms.get(message.room_id) is token
            if not (new and stayed):
                original = self.stored[key_of(message)]
                stream.outbox.append(RelayEvent(ref=ref, chat_message=original))

    def _store(self, message: ChatMessage) -> bool:
        if key_of(message) in self.stored:
            return False
        self.history[message.room_id].append(message)
        message.seq = len(self.history[message.room_id])
        self.stored[key_of(message)] = message
        return True

    def _send(self, stream: Stream, ref: int, message: ChatMessage) -> None:
        if message.room_id == "refused" or not message.content:
            self._refuse(stream, ref)
            return
        stream.active.add(message.sender_id)
        stream.pending.append((ref, message, stream.rooms.get(message.room_id)))

    def _join(self, stream: Stream, ref: int, join: Join) -> None:
        if join.room_id == "refused":
            self._refuse(stream, ref)
            return
        history = self.history[join.room_id]
        same = join.epoch is None or join.epoch == str(self.epoch)
        after_seq = join.after_seq if join.after_seq is not None else len(history) + 1
        recovered = same and after_seq <= len(history)
        joined = Joined(join.room_id, str(self.epoch), len(history), recovered)
        stream.outbox.append(RelayEvent(ref=ref, joined=joined))
        if recovered:
            stream.outbox += [RelayEvent(chat_message=each) for each in history[after_seq:]]
        stream.rooms[join.room_id] = object()

    def _refuse(self, stream: Stream, ref: int) -> None:
        error = Error(code=ErrorCode(ErrorCode.INVALID_ARGUMENT), message="wrong")
        stream.outbox.append(RelayEvent(ref=ref, error=error))


class DirectOutbox(Outbox):
    """Passes each item on immediately, with a link or without.

    Args:
        put: takes an item and its size.
    """

    def __init__(self, put: Callable[[Item, int], object]) -> None:
        super().__init__()
        self._hand_on = put

    def put(self, item: Item, size: int) -> None:
        self._hand_on(item, size)


class Guest(Client):
    """A client that nobody limits or dismisses."""

    def __init__(self) -> None:
        self.rooms = set()
        self.users = set()

    def note_rate_limited(self) -> None:
        raise AssertionError("nobody was")

    def dismiss(self, error: Error) -> None:
        raise AssertionError(error)


class Follower(Guest):
    """A client that checks its messages.

    Attributes:
        last: its position in each room, if known.
        answers: number of answers to each request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, int] = {}
        self.sent: dict[str, ChatMessage] = {}
        self.answers: Counter[str] = Counter()
        self.got: dict[str, int] = {}

    def write(self, frame: bytes) -> None:
        for each in split_frames(frame):
            told = each.json()
            if "joined" in told:
                assert told["joined"]["recovered"] is False
                self.last[told["joined"]["room_id"]] = told["joined"]["last_seq"]
                continue
            if "request_id" in told:
                self.answers[told["request_id"]] += 1
            if "chat_message" in told:
                message = told["chat_message"]
                self._follow(message["room_id"], message["seq"], told.get("request_id"))

    def _follow(self, room_id: str, seq: int, request_id: str | None) -> None:
        last = self.last.get(room_id)
        if request_id is not None:
            self.got[request_id] = seq
            # It may be of the room, or of the sender alone.
            if last is not None and seq == last + 1:
                self.last[room_id] = seq
            return
        assert room_id in self.rooms
        if last is not None:
            assert seq == last + 1
        self.last[room_id] = seq
