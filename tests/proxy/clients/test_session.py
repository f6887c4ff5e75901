"""The state machine of one client: frames in, decisions out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gen.chat import ErrorCode
from proxy.clients.session import Action, Ask, EnterRoom, LeaveRoom, Refuse, Send, Session
from proxy.core.call_table import calls_of_schema
from tests.proxy.web_client import message
from tests.support import MODEL

LIMIT = 2_000
CALLS = calls_of_schema()

# Any JSON value.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
fields = ["room_id", "roomId", "sender_id", "content", "id", "seq", "after_seq", "epoch"]
kinds = ["request_id", "requestId", "chat_message", "chatMessage", "join", "leave", *CALLS]
names = st.sampled_from(kinds + fields)
# Objects that look like frames.
frames = st.dictionaries(names, st.dictionaries(names, values, max_size=4) | values, max_size=3)
room_ids = st.sampled_from(["a", "b", "c", "d"])


def session(max_rooms: int = 3) -> Session:
    return Session(LIMIT, max_rooms, CALLS)


def decide(**frame: Any) -> Action:
    return session().receive(json.dumps(frame).encode())


def check(action: Action) -> None:
    """Checks that it is one of the known decisions, and that a refusal has a reason."""
    assert isinstance(action, Send | EnterRoom | LeaveRoom | Ask | Refuse)
    assert action.request_id is None or isinstance(action.request_id, str)
    if isinstance(action, Refuse):
        assert action.error.code == ErrorCode.INVALID_ARGUMENT
        path, colon, text = action.error.message.partition(": ")
        assert path
        assert colon
        assert text
        assert action.error.message.isprintable()


@given(st.binary(max_size=LIMIT + 10))
def test_any_bytes_give_one_decision(data: bytes) -> None:
    check(session().receive(data))


@given(frames | values)
def test_any_json_gives_one_decision(value: Any) -> None:
    check(session().receive(json.dumps(value).encode()))


@given(frames, st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_damaged_frame_gives_one_decision(frame: Any, position: int, damage: bytes) -> None:
    data = json.dumps(frame).encode()
    check(session().receive(data[:position] + damage + data[position + len(damage) :]))


@pytest.mark.parametrize(("size", "refused"), [(LIMIT, False), (LIMIT + 1, True)])
def test_frame_size_is_bounded(size: int, refused: bool) -> None:
    action = session().receive(b'{"leave":{"room_id":"a"}}'.ljust(size))
    assert isinstance(action, Refuse) is refused


def test_binary_frame_is_refused() -> None:
    check(session().receive_binary())
    assert isinstance(session().receive_binary(), Refuse)


@given(st.none() | texts, texts, texts, texts, texts)
def test_message_is_sent_unchanged(
    request_id: str | None, key: str, room_id: str, sender_id: str, content: str
) -> None:
    payload = message(room_id, content, sender_id, id=key)
    action = decide(chat_message=payload, request_id=request_id)
    assert isinstance(action, Send)
    sent = action.message
    assert (sent.room_id, sent.sender_id, sent.content) == (room_id, sender_id, content)
    assert action.request_id == request_id
    assert sent.id == key if key else sent.id


def test_generated_ids_differ() -> None:
    made_up = set()
    for _ in range(100):
        action = decide(chat_message=message("a"))
        assert isinstance(action, Send)
        made_up.add(action.message.id)
    assert len(made_up) == 100


@given(st.none() | texts, texts, st.none() | st.integers(0, 2**32 - 1), st.none() | texts)
def test_join_is_entered_unchanged(
    request_id: str | None, room_id: str, after_seq: int | None, epoch: str | None
) -> None:
    payload = {"room_id": room_id, "after_seq": after_seq, "epoch": epoch}
    action = decide(join=payload, request_id=request_id)
    assert isinstance(action, EnterRoom)
    assert (action.join.room_id, action.join.after_seq, action.join.epoch) == tuple(
        payload.values()
    )
    assert action.request_id == request_id


@pytest.mark.parametrize("field", CALLS)
def test_schema_calls_are_asked(field: str) -> None:
    action = decide(**{field: {}}, request_id="mine")
    assert isinstance(action, Ask)
    assert (action.field, action.request_id) == (field, "mine")
    assert type(action.request) is CALLS[field].request_type


def test_only_given_calls_are_asked() -> None:
    action = Session(LIMIT, 3, {}).receive(b'{"get_user":{"user_id":"ada"}}')
    assert isinstance(action, Refuse)


@pytest.mark.parametrize("name", ["request_id", "requestId"])
@pytest.mark.parametrize("wrong", [{}, {"join": 1}, {"x": 1}, {"join": {}, "leave": {}}], ids=str)
def test_refusal_keeps_the_request_id(name: str, wrong: dict[str, Any]) -> None:
    action = decide(**wrong, **{name: "mine"})
    assert isinstance(action, Refuse)
    assert action.request_id == "mine"


class Rooms(RuleBasedStateMachine):
    """A session in rooms, against a set of them.

    The rules do what the connection does: a room that was joined or sent to is
    entered, unless the server refused it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.session = session(max_rooms=2)
        self.rooms: set[str] = set()

    @rule(room_id=room_ids, accepted=st.booleans())
    def send(self, room_id: str, accepted: bool) -> None:
        self.enter({"chat_message": message(room_id)}, "chat_message", room_id, accepted)

    @rule(room_id=room_ids, accepted=st.booleans())
    def join(self, room_id: str, accepted: bool) -> None:
        self.enter({"join": {"room_id": room_id}}, "join", room_id, accepted)

    @rule(room_id=room_ids)
    def leave(self, room_id: str) -> None:
        action = self.session.receive(json.dumps({"leave": {"room_id": room_id}}).encode())
        assert action == LeaveRoom(room_id, None)
        self.session.rooms.discard(room_id)
        self.rooms.discard(room_id)

    @rule(data=st.binary(max_size=50))
    def nonsense(self, data: bytes) -> None:
        check(self.session.receive(data))

    @invariant()
    def agrees(self) -> None:
        assert self.session.rooms == self.rooms

    def enter(self, frame: Any, field: str, room_id: str, accepted: bool) -> None:
        action = self.session.receive(json.dumps(frame).encode())
        if len(self.rooms | {room_id}) > 2:
            assert isinstance(action, Refuse)
            assert action.error.code == ErrorCode.RESOURCE_EXHAUSTED
            assert action.error.message.startswith(f"{field}.room_id: ")
            assert not action.error.retryable
            return
        assert isinstance(action, Send | EnterRoom)
        if accepted:
            self.session.rooms.add(room_id)
            self.rooms.add(room_id)


TestRooms = Rooms.TestCase
TestRooms.settings = settings(MODEL, max_examples=50)
