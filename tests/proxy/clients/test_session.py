"""The state machine of one client: frames in, decisions out."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.clients.actions import Action, EnterRoom, Refuse, Send
from proxy.clients.session import Session
from proxy.core.call_table import calls_of_schema
from tests.fuzz.proxy_targets import frame
from tests.proxy.web_client import message

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


def session(max_rooms: int = 3) -> Session:
    return Session(LIMIT, max_rooms, CALLS)


def decide(**frame: Any) -> Action:
    return session().receive(json.dumps(frame).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Bytes of a frame, some of which are replaced."""
    data, at = json.dumps(draw(frames)).encode(), draw(st.integers(0, 200))
    damage = draw(st.binary(min_size=1, max_size=3))
    return data[:at] + damage + data[at + len(damage) :]


@given((frames | values).map(lambda value: json.dumps(value).encode()) | damaged())
def test_any_frame_gives_one_decision(data: bytes) -> None:
    frame(data)


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


def test_only_given_calls_are_asked() -> None:
    action = Session(LIMIT, 3, {}).receive(b'{"get_user":{"user_id":"ada"}}')
    assert isinstance(action, Refuse)
