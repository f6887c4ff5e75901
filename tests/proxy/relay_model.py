"""A model of the server that a switchboard talks to, and of the clients behind it.

The server does what `relay.py` of the chat server does, one step at a time, so
that links break and histories vanish between any two of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import betterproto

import codec
from gen.chat import (
    ChatMessage,
    Error,
    ErrorCode,
    Join,
    Joined,
    JoinFollow,
    Leave,
    Left,
    MessageChange,
    MessageExtra,
    MessageState,
    Presence,
    RelayCommand,
    RelayEvent,
    RelayRequest,
    RelayResponse,
    RoomChanges,
    RoomPresence,
    Stored,
    Wanted,
)
from proxy.core.client import Client
from proxy.core.followers import wants_changes
from proxy.core.outbox import Item, Outbox, as_command
from proxy.core.room import Room
from proxy.core.switchboard import Switchboard
from tests.kit.web import Frame, split_frames

Key = tuple[str, str, str]
# A reference, a message, and the stream's membership in the room at its arrival.
Pending = tuple[int, ChatMessage, object | None]


def key_of(message: ChatMessage) -> Key:
    return message.room_id, message.sender_id, message.id


@dataclass
class Stream:
    """One stream on the server's side.

    Attributes:
        tells: whether it tells of changes: a server of before does not.
        told: the change of each room up to which it has told.
        people: who is in each room, as it was told last.
    """

    tells: bool = True

    inbox: list[RelayCommand] = field(default_factory=list)
    outbox: list[RelayEvent] = field(default_factory=list)
    rooms: dict[str, object] = field(default_factory=dict)
    pending: list[Pending] = field(default_factory=list)
    active: set[str] = field(default_factory=set)
    told: dict[str, int] = field(default_factory=dict)
    people: dict[str, RoomPresence] = field(default_factory=dict)


class Server:
    """The model of the server."""

    def __init__(self) -> None:
        self.epoch = 1
        self.history: defaultdict[str, list[ChatMessage]] = defaultdict(list)
        self.stored: dict[Key, ChatMessage] = {}
        # The positions that changed, by the number of the change.
        self.changes: defaultdict[str, list[int]] = defaultdict(list)

    def lose_history(self) -> None:
        self.epoch += 1
        self.history.clear()
        self.stored.clear()
        self.changes.clear()

    def last_change(self, room_id: str, seq: int) -> int:
        """Returns the last change of a message; 0 if it never changed."""
        changes = self.changes[room_id]
        return max((number for number, each in enumerate(changes, 1) if each == seq), default=0)

    def change(self, room_id: str, seq: int) -> None:
        """Changes a message."""
        self.changes[room_id].append(seq)
        message = self.history[room_id][seq - 1]
        number = len(self.changes[room_id])
        message.content = f"as of {number}"
        message.extra = MessageExtra(state=MessageState(change=number))

    def tell_changes(self, stream: Stream, room_id: str) -> None:
        """Tells a stream what changed since it was told last."""
        told, last_change = stream.told.get(room_id), len(self.changes[room_id])
        if told is not None and told < last_change:
            stream.told[room_id] = last_change
            seqs = self.changes[room_id][told:]
            self._tell_changed(stream, room_id, told, seqs)

    def _tell_changed(self, stream: Stream, room_id: str, after: int, seqs: list[int]) -> None:
        messages = [
            MessageChange(seq, message.content, message.extra.state)
            for seq in dict.fromkeys(seqs)
            for message in [self.history[room_id][seq - 1]]
        ]
        changes = RoomChanges(room_id, after, len(self.changes[room_id]), messages)
        stream.outbox.append(RelayEvent(changes=changes))

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
                stream.told.pop(payload.room_id, None)
                stream.people.pop(payload.room_id, None)
                stream.outbox.append(RelayEvent(ref=command.ref, left=Left(payload.room_id)))
            case RoomPresence():
                assert payload.room_id in stream.rooms
                assert stream.tells
                assert len(payload.user_ids) in (0, payload.count)
                stream.people[payload.room_id] = payload
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
        room_id, history = join.room_id, self.history[join.room_id]
        same = join.epoch is None or join.epoch == str(self.epoch)
        after_seq = join.after_seq if join.after_seq is not None else len(history) + 1
        recovered = same and after_seq <= len(history)
        tells = stream.tells and wants_changes(join)
        last_change = len(self.changes[room_id]) if tells else None
        joined = Joined(room_id, str(self.epoch), len(history), recovered, last_change)
        stream.outbox.append(RelayEvent(ref=ref, joined=joined))
        if recovered:
            self._replay(stream, join, after_seq, last_change)
        if last_change is not None:
            stream.told[room_id] = last_change
            if JoinFollow.PRESENCE in join.follow:
                stream.outbox.append(RelayEvent(wanted=Wanted(room_id, presence=True)))
        stream.rooms[room_id] = object()

    def _replay(self, stream: Stream, join: Join, after_seq: int, last_change: int | None) -> None:
        room_id, after_change = join.room_id, join.after_change
        if last_change is not None and after_change is not None and after_change < last_change:
            missed = self.changes[room_id][after_change:]
            seqs = [seq for seq in missed if seq <= after_seq]
            self._tell_changed(stream, room_id, after_change, seqs)
        history = self.history[room_id]
        stream.outbox += [RelayEvent(chat_message=each) for each in history[after_seq:]]

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


def decoded(item: Item, size: int) -> RelayCommand:
    """Returns the command of an item as the server decodes it; it is no larger than said."""
    data = codec.encode(RelayRequest(commands=[as_command(item)]))
    assert len(data) <= size
    return codec.decode(RelayRequest, data).commands[0]


def tell(switchboard: Switchboard, *events: RelayEvent) -> None:
    """Delivers a batch as decoded from the wire."""
    data = codec.encode(RelayResponse(events=list(events)))
    switchboard.receive(codec.decode(RelayResponse, data))


class Guest(Client):
    """A client that nobody limits or dismisses."""

    def __init__(self) -> None:
        self.rooms = set()
        self.users = set()

    def write_news(self, frame: bytes) -> bool:
        self.write(frame)
        return True

    def note_rate_limited(self) -> None:
        raise AssertionError("nobody was")

    def dismiss(self, error: Error) -> None:
        raise AssertionError(error)


class Recorder(Guest):
    """A client that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, frame: bytes) -> None:
        self.writes.append(frame)

    def take(self) -> list[Frame]:
        """Returns the frames since this was called last."""
        frames = [each.json() for data in self.writes for each in split_frames(data)]
        self.writes.clear()
        return frames


class Follower(Guest):
    """A client that checks what it is told.

    Attributes:
        last: its position in each room, if known.
        changes: its last change in each room whose changes it follows; `None` if none are told.
        shown: the last change of each message that it got in such a room.
        answers: number of answers to each request.
        here: the users that it is in each room for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, int] = {}
        self.changes: dict[str, int | None] = {}
        self.shown: dict[tuple[str, int], int] = {}
        self.sent: dict[str, ChatMessage] = {}
        self.answers: Counter[str] = Counter()
        self.got: dict[str, int] = {}
        self.here: defaultdict[str, set[str]] = defaultdict(set)

    def enter(self, room: Room, *, follows: bool) -> Join:
        """Notes that it enters a room; returns what it asked for."""
        self.forget(room.room_id)
        self.last[room.room_id] = room.last_seq
        if not follows:
            return Join(room.room_id)
        self.changes[room.room_id] = room.last_change
        self.here[room.room_id].add("reader")
        follow = [JoinFollow(JoinFollow.CHANGES), JoinFollow(JoinFollow.PRESENCE)]
        return Join(room.room_id, follow=follow, user_id="reader")

    def forget(self, room_id: str) -> None:
        """Notes that it is not in a room."""
        self.last.pop(room_id, None)
        self.changes.pop(room_id, None)
        self.here.pop(room_id, None)
        self._forget_shown(room_id)

    def write(self, frame: bytes) -> None:
        for each in split_frames(frame):
            told = each.json()
            if "joined" in told:
                self._start_over(told["joined"])
                continue
            if "changes" in told:
                self._change(told["changes"])
                continue
            if "request_id" in told:
                self.answers[told["request_id"]] += 1
            if "chat_message" in told:
                self._follow(told["chat_message"], told.get("request_id"))

    def _start_over(self, joined: Any) -> None:
        room_id = joined["room_id"]
        assert joined["recovered"] is False
        self.last[room_id] = joined["last_seq"]
        self._forget_shown(room_id)
        if room_id in self.changes:
            self.changes[room_id] = joined.get("last_change")
        else:
            assert "last_change" not in joined

    def _forget_shown(self, room_id: str) -> None:
        self.shown = {key: change for key, change in self.shown.items() if key[0] != room_id}

    def _change(self, changes: Any) -> None:
        room_id = changes["room_id"]
        assert room_id in self.rooms
        own = self.changes[room_id]
        assert own is not None
        assert changes["after_change"] <= own
        self.changes[room_id] = max(own, changes["last_change"])
        for each in changes["messages"]:
            assert each["seq"] <= self.last[room_id]
            key = room_id, each["seq"]
            if key in self.shown:
                self.shown[key] = max(self.shown[key], each["state"]["change"])

    def _follow(self, message: Any, request_id: str | None) -> None:
        room_id, seq = message["room_id"], message["seq"]
        last = self.last.get(room_id)
        if request_id is not None:
            self.got[request_id] = seq
            if room_id in self.rooms:
                self.here[room_id].add(message["sender_id"])
            # It may be of the room, or of the sender alone.
            if last is None or seq != last + 1:
                return
        else:
            assert room_id in self.rooms
            if last is not None:
                assert seq == last + 1
        self.last[room_id] = seq
        if room_id in self.changes:
            state = message.get("extra", {}).get("state", {})
            self.shown[room_id, seq] = state.get("change", 0)
