"""Unconfirmed sends, against a plain list and a clock."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import proxy
from gen.chat import ChatMessage
from proxy.core.unconfirmed import UnconfirmedSend, UnconfirmedSends
from proxy.errors import Refused
from tests.clock import ClockLoop
from tests.proxy.relay_model import Follower
from tests.support import MODEL

HOLD_SECONDS = 10.0
HOLD_BYTES = 20

T = TypeVar("T")
Key = tuple[str, str, str]

# Shrinking a failure takes a while.
pytestmark = pytest.mark.timeout(300)


class Sent(NamedTuple):
    """A send in the model."""

    ref: int
    key: Key
    size: int
    held: float | None  # since when
    send: UnconfirmedSend


def message(key: Key) -> ChatMessage:
    room_id, sender_id, id_ = key
    return ChatMessage(id=id_, room_id=room_id, sender_id=sender_id, content="hello")


class Holding(RuleBasedStateMachine):
    """Any order of sends, answers, lost links and waits."""

    letters = st.sampled_from("ab")
    keys = st.just(("a", "a", "a")) | st.tuples(letters, letters, letters)

    def __init__(self) -> None:
        super().__init__()
        self.loop = ClockLoop()
        self.client = Follower()
        self.given_up: list[int] = []
        config = proxy.Config(hold_seconds=HOLD_SECONDS, hold_bytes=HOLD_BYTES)
        self.sends = self.do(lambda: UnconfirmedSends(config, self.give_up))
        # The model.
        self.waiting: list[Sent] = []
        self.last_ref = 0
        self.linked = False
        self.away: float | None = 0.0  # for how long; nothing once it was too long
        self.now = 0.0
        self.slow = False

    def do(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self.loop.run_until_complete(call())

    def give_up(self, send: UnconfirmedSend) -> None:
        self.given_up.append(send.ref)

    def size(self) -> int:
        return sum(send.size for send in self.waiting)

    @rule(key=keys, size=st.integers(0, 8) | st.integers(18, 22))
    def send(self, key: Key, size: int) -> None:
        if self.away is None or self.size() > HOLD_BYTES:
            with pytest.raises(Refused) as refused:
                self.sends.check()
            assert refused.value.error.retryable
            return
        self.sends.check()
        self.last_ref += 1
        send = UnconfirmedSend(self.last_ref, message(key), self.client, None, size)
        assert send.key == key
        self.do(lambda: self.sends.add(send))
        held = None if self.linked else self.now
        self.waiting.append(Sent(self.last_ref, key, size, held, send))
        self.slow |= self.linked and self.size() > HOLD_BYTES // 2

    @rule(key=keys)
    def a_message_arrives(self, key: Key) -> None:
        found = self.sends.confirm_message(message(key))
        self.sends.wake_waiters()
        self.settled(found, next((send for send in self.waiting if send.key == key), None))

    @precondition(lambda self: self.last_ref > 0)
    @rule(data=st.data())
    def an_answer_arrives(self, data: st.DataObject) -> None:
        ref = data.draw(st.integers(0, self.last_ref + 1))
        expected = next((send for send in self.waiting if send.ref == ref), None)
        known = self.sends.find(ref)
        assert (known and known.ref) == (expected and expected.ref)
        found = self.sends.confirm(ref)
        self.sends.wake_waiters()
        self.settled(found, expected)

    @rule()
    def all_are_answered(self) -> None:
        """Confirming during iteration does not disturb it."""
        for send in self.sends:
            assert self.sends.confirm(send.ref) is send
        self.sends.wake_waiters()
        self.waiting.clear()
        self.slow = False

    def settled(self, found: UnconfirmedSend | None, expected: Sent | None) -> None:
        assert found is (expected and expected.send)
        if expected is not None:
            self.waiting.remove(expected)
        self.slow &= self.size() > HOLD_BYTES // 2

    @precondition(lambda self: not self.linked)
    @rule()
    def the_server_is_there(self) -> None:
        self.do(self.sends.connected)
        self.linked, self.away = True, 0.0
        # Held sends are to be confirmed first.
        self.slow = self.size() > HOLD_BYTES // 2

    @precondition(lambda self: self.linked)
    @rule()
    def the_link_is_lost(self) -> None:
        self.given_up.clear()
        self.do(self.sends.disconnected)
        self.linked = self.slow = False
        self.waiting = [
            send if send.held is not None else send._replace(held=self.now) for send in self.waiting
        ]
        self.check_given_up()

    def check_given_up(self) -> None:
        """Sends held for long enough in all are given up, once."""
        end = self.now - HOLD_SECONDS + 1e-6
        expected = [send for send in self.waiting if send.held is not None and send.held <= end]
        self.waiting = [send for send in self.waiting if send not in expected]
        assert self.given_up == [send.ref for send in expected]

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, HOLD_SECONDS - 0.1, HOLD_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.given_up.clear()
        self.loop.run_until_complete(self.loop.pass_time(seconds))
        self.now += seconds
        if self.linked:
            assert not self.given_up
            return
        if self.away is not None:
            self.away += seconds
            if self.away >= HOLD_SECONDS - 1e-6:
                assert self.given_up == [send.ref for send in self.waiting]
                self.waiting.clear()
                self.away = None
                return
        self.check_given_up()

    @invariant()
    def agrees(self) -> None:
        assert [send.ref for send in self.sends] == [send.ref for send in self.waiting]
        assert len(self.sends) == len(self.waiting)
        assert self.sends.size == self.size()
        assert self.sends.linked is self.linked
        assert self.sends.is_writable is not self.slow
        confirmed = self.sends.wait_all_confirmed(0)
        assert self.loop.run_until_complete(confirmed) is not bool(self.waiting)

    def teardown(self) -> None:
        """At the end each send is answered or given up."""
        if self.linked:
            self.the_link_is_lost()
        self.time_passes(HOLD_SECONDS)
        assert not [*self.sends]
        self.loop.close()


TestHolding = Holding.TestCase
TestHolding.settings = settings(MODEL, max_examples=60)
