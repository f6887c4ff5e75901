"""Fuzz targets for the proxy's decisions on client frames and on server batches."""

import json
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any

import orjson

import codec
import proxy
from gen.chat import (
    ChatMessage,
    Error,
    ErrorCode,
    Join,
    Joined,
    JoinFollow,
    RelayCommand,
    RelayEvent,
    RelayRequest,
    RelayResponse,
    RoomPresence,
    Stored,
    Typists,
    Wanted,
)
from proxy.clients.actions import Ask, EnterRoom, LeaveRoom, Refuse, Send, Type
from proxy.clients.session import Session
from proxy.core import frames
from proxy.core.call_table import calls_of_schema
from proxy.core.outbox import Item, as_command
from proxy.core.room import ProtocolViolation
from proxy.core.switchboard import Switchboard
from tests.clock import ClockLoop
from tests.fuzz.steps import Choices, pieced
from tests.kit.web import split_frames
from tests.proxy.relay_model import DirectOutbox, Guest

_LIMIT = 1000
_CALLS = calls_of_schema()


def frame(data: bytes) -> None:
    """A text frame leads to exactly one decision, whose reply can be encoded."""
    session = Session(_LIMIT, 1, _CALLS)
    session.rooms.add("lobby")
    action = session.receive(data)
    assert action.request_id == (_request_id(data) if len(data) <= _LIMIT else None)
    match action:
        case Refuse(error, request_id):
            _check_error(error, request_id)
        case Send(message, request_id):
            assert message.id
            assert message.room_id == "lobby"
            # It can be encoded for the server, and decoded again.
            command = RelayCommand(ref=1, chat_message=message)
            again = codec.decode(RelayCommand, codec.encode(command)).chat_message
            [told] = split_frames(frames.message(again, request_id))
            assert told.json()["chat_message"]["content"] == message.content
            assert told.json().get("request_id") == request_id
        case EnterRoom(join, _):
            assert join.room_id == "lobby"
        case LeaveRoom(room_id, _):
            assert room_id
        case Type(room_id, user_id, _):
            assert room_id == "lobby"
            typists = Typists(room_id, [user_id])
            assert codec.decode(Typists, codec.encode(typists)) == typists
        case Ask(field, request, _):
            assert type(request) is _CALLS[field].request_type
            assert codec.decode(type(request), codec.encode(request)) == request
    assert session.rooms == {"lobby"}


def _request_id(data: bytes) -> str | None:
    """The request id of a frame, as the standard library finds it."""
    with suppress(ValueError, RecursionError):
        orjson.loads(data)  # the two disagree on which texts are JSON
        found = json.loads(data)
        if isinstance(found, dict):
            request_id = found.get("request_id", found.get("requestId"))
            return request_id if isinstance(request_id, str) else None
    return None


def _check_error(error: Error, request_id: str | None) -> None:
    [told] = split_frames(frames.error(error, request_id))
    assert told.json().get("request_id") == request_id
    shown = told.json()["error"]
    assert shown["code"] in {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"}
    assert shown["retryable"] is False
    path, _, text = shown["message"].rpartition(": ")
    assert path
    assert text
    assert shown["message"].isprintable()
    assert len(shown["message"]) < 1000
    assert "Traceback" not in shown["message"]


class _Listener(Guest):
    """A client that counts the replies it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str] = []

    def note_rate_limited(self) -> None:
        """Nothing to do: the error frame has the time to wait."""

    def write(self, frame: bytes) -> None:
        for each in split_frames(frame):
            told = each.json()
            kinds = told.keys() - {"request_id"}
            assert len(kinds) == 1, told
            if "request_id" in told:
                self.answers.append(told["request_id"])


@cache
def _loop() -> ClockLoop:
    return ClockLoop()


def batches(data: bytes) -> None:
    """Any server batches are accepted, or the link is dropped; each send gets one reply."""
    _loop().run_until_complete(_batches(data))


async def _batches(data: bytes) -> None:
    switchboard = Switchboard(proxy.Config(hold_seconds=5.0), DirectOutbox(_check_command))
    client, other = _Listener(), _Listener()
    follow = [JoinFollow(each) for each in JoinFollow]
    switchboard.connected()
    # References 1 to 6: presence is not sent, joins and sends alternate.
    for number, room_id in enumerate(("lobby", "attic", "lobby", "attic")):
        message = ChatMessage(id=str(number), room_id=room_id, sender_id="ada", content="hello")
        switchboard.send(client, message, f"request {number}")
    with switchboard.rooms.pinned("lobby") as room:
        join = Join("lobby", follow=follow, user_id="ben")
        switchboard.rooms.add_member(other, room, join)
    for piece in Choices(data).pieces():
        try:
            switchboard.receive(codec.decode(RelayResponse, piece))
        except (codec.DecodeError, ProtocolViolation):
            # The link is dropped: unconfirmed sends are resent.
            switchboard.disconnected()
            switchboard.connected()
    switchboard.disconnected()
    await _loop().pass_time(5.0)
    assert sorted(client.answers) == [f"request {number}" for number in range(4)]
    assert other.answers == []
    assert not [*switchboard.sends]
    for each in (client, other):
        switchboard.close(each)
        assert not each.rooms
    await _loop().pass_time(1.0)


def _check_command(item: Item, size: int) -> None:
    assert len(codec.encode(RelayRequest(commands=[as_command(item)]))) <= size


def frame_seeds() -> list[bytes]:
    """Valid frames of each kind, and some invalid ones."""
    message = {"id": "1", "room_id": "lobby", "sender_id": "ada", "content": "hello"}
    payloads: list[dict[str, Any]] = [
        {"chat_message": message},
        {"chatMessage": {"roomId": "lobby", "senderId": "ada", "content": "\u2603"}},
        {"join": {"room_id": "lobby", "after_seq": 3, "epoch": "e"}},
        {"leave": {"room_id": "lobby"}},
        {"typing": {"room_id": "lobby", "user_id": "ada"}},
        {"typing": {"roomId": "attic", "userId": "a\u0007"}},
        {"join": {"room_id": "lobby", "follow": ["TYPING", 3], "user_id": "ada"}},
        {"get_chat_history": {"room_id": "lobby", "limit": 2, "before_seq": 9}},
        {"get_user": {"user_id": "ada"}},
        {"upsert_user": {"user_id": "ada", "name": "Ada", "email": "ada@example.org"}},
        {"list_users": {"page_size": 3, "page_token": "ada"}},
        {"chat_message": {**message, "room_id": "attic"}},
        {"chat_message": {**message, "seq": -1}},
        {"join": {"room_id": 5}},
        {"nonsense": None},
    ]
    return [
        *(json.dumps({**each, "request_id": "mine"}).encode() for each in payloads),
        json.dumps({"requestId": "mine", **payloads[0]}).encode().ljust(_LIMIT + 1),
        b"[]",
        b'{"request_id": "\xff"}',
        b"[" * 200,
    ]


def batch_seeds() -> list[bytes]:
    """Batches as a server sends them, and in another order."""
    events = [
        RelayEvent(ref=1, joined=Joined("lobby", "e", 0, recovered=False)),
        RelayEvent(ref=3, joined=Joined("attic", "e", 0, recovered=False)),
        *(RelayEvent(ref=ref, joined=Joined("lobby", "e", 0, recovered=True)) for ref in (2, 4)),
        RelayEvent(stored=Stored(refs=[1, 2, 3], seqs=[1, 1, 2])),
        RelayEvent(stored=Stored(refs=[2], seqs=[1])),
        RelayEvent(room_presence=RoomPresence("lobby", 2, ["ada", "ben"])),
        RelayEvent(typists=Typists("lobby", ["ben"], 1, 6000)),
        RelayEvent(wanted=Wanted("lobby", presence=True)),
        RelayEvent(ref=5, chat_message=_stored("lobby", "2", 2)),
        RelayEvent(chat_message=_stored("lobby", "0", 1)),
        RelayEvent(chat_message=_stored("attic", "1", 1)),
        *(RelayEvent(ref=ref, error=_error(retryable=ref < 4)) for ref in range(1, 7)),
    ]
    random = Random(2)  # noqa: S311 - made up, not secret
    seeds = [pieced([codec.encode(RelayResponse(events=events))])]
    for _ in range(40):
        chosen = random.sample(events, random.randint(1, len(events)))
        seeds.append(pieced([codec.encode(RelayResponse(events=[each])) for each in chosen]))
    return seeds


def _stored(room_id: str, key: str, seq: int) -> ChatMessage:
    return ChatMessage(id=key, room_id=room_id, sender_id="ada", content="hello", seq=seq)


def _error(*, retryable: bool) -> Error:
    return Error(code=ErrorCode(ErrorCode.UNAVAILABLE), message="later", retryable=retryable)
