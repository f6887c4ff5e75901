"""The sends that wait for an answer, against a plain list."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gen.chat import ChatMessage
from proxy.core.outstanding import Outstanding, Unconfirmed
from tests.support import MODEL

Key = tuple[str, str, str]
letters = st.sampled_from(["a", "b"])
keys = st.tuples(letters, letters, letters)


class Sent(NamedTuple):
    """A send, as the model keeps it."""

    ref: int
    key: Key
    send: Unconfirmed[str]


def message(key: Key) -> ChatMessage:
    room_id, sender_id, id_ = key
    return ChatMessage(id=id_, room_id=room_id, sender_id=sender_id, content="hello")


def check(found: Unconfirmed[str] | None, expected: Sent | None) -> None:
    if expected is None:
        assert found is None
    else:
        assert found is expected.send


class Model(RuleBasedStateMachine):
    """Any sequence of sends and confirmations."""

    def __init__(self) -> None:
        super().__init__()
        self.outstanding: Outstanding[str] = Outstanding()
        self.model: list[Sent] = []
        self.last_ref = 0

    @rule(
        key=keys,
        client=letters,
        request_id=st.none() | st.just("mine"),
        size=st.integers(0, 9),
        skipped=st.integers(1, 3),
    )
    def add(self, key: Key, client: str, request_id: str | None, size: int, skipped: int) -> None:
        self.last_ref += skipped
        send = Unconfirmed(self.last_ref, message(key), client, request_id, size)
        assert send.key == key
        self.outstanding.add(send)
        self.model.append(Sent(self.last_ref, key, send))

    @rule(key=keys)
    def a_message_arrives(self, key: Key) -> None:
        expected = next((sent for sent in self.model if sent.key == key), None)
        check(self.outstanding.settle(message(key)), expected)
        if expected is not None:
            self.model.remove(expected)

    @precondition(lambda self: self.last_ref > 0)
    @rule(data=st.data())
    def an_answer_arrives(self, data: st.DataObject) -> None:
        ref = data.draw(st.integers(0, self.last_ref + 1))
        expected = next((sent for sent in self.model if sent.ref == ref), None)
        check(self.outstanding.settle_ref(ref), expected)
        if expected is not None:
            self.model.remove(expected)

    @rule()
    def all_are_given_up(self) -> None:
        """What is settled while one goes through them does not disturb the going."""
        for sent in self.outstanding:
            assert self.outstanding.settle_ref(sent.ref) is sent
        self.model.clear()

    @invariant()
    def agrees(self) -> None:
        assert [sent.ref for sent in self.outstanding] == [sent.ref for sent in self.model]
        assert len(self.outstanding) == len(self.model)
        assert self.outstanding.size == sum(sent.send.size for sent in self.model)


TestModel = Model.TestCase
TestModel.settings = settings(MODEL, max_examples=50)
