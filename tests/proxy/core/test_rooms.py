"""The rooms of a proxy, against a plain history that may be lost."""

import asyncio
from contextlib import AbstractContextManager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import proxy
from gen.chat import Join, Joined, Leave, RelayCommand
from hosting.faults import Faults
from proxy import errors
from proxy.core.outbox import Outbox
from proxy.core.people import People
from proxy.core.room import GapError, Lost, Room
from proxy.core.rooms import Rooms
from proxy.metrics import ProxyMetrics
from tests.proxy.relay_model import Follower
from tests.support import MODEL


def people(outbox: Outbox) -> People:
    return People(outbox, Faults(), ProxyMetrics())


class Following(RuleBasedStateMachine):
    """A room that follows a server's history, over lost links and lost histories."""

    def __init__(self) -> None:
        super().__init__()
        self.room: Room = Room("lobby")
        self.ref = 0
        self.asked: Join | None = None
        # The server's history: its name and how long it is.
        self.epoch, self.head = 1, 0
        # Messages that the server will send without a further request.
        self.due: list[int] = []
        # Messages seen by the room's members since they were last told of a gap.
        self.seen: list[tuple[str, int]] = []
        # Waiters for a position: its history, the position, and the end of the wait.
        self.waiting: list[tuple[str, int, asyncio.Future[None]]] = []

    @rule()
    def the_link_is_lost(self) -> None:
        self.room.link_lost()
        self.asked, self.due = None, []

    @precondition(lambda self: self.asked is None and not self.room.live)
    @rule()
    def it_is_asked_for(self) -> None:
        self.ref += 1
        self.asked = self.room.start_join(self.ref)
        assert self.room.join_ref == self.ref
        if self.seen:
            assert (self.asked.epoch, self.asked.after_seq) == self.seen[-1]

    @rule()
    def another_message_is_stored(self) -> None:
        self.head += 1
        if self.room.live:
            self.due.append(self.head)

    @precondition(lambda self: not self.room.live)
    @rule(head=st.integers(0, 5))
    def the_history_is_lost(self, head: int) -> None:
        self.epoch, self.head = self.epoch + 1, head

    @precondition(lambda self: self.asked is not None)
    @rule()
    def it_is_joined(self) -> None:
        assert self.asked is not None
        after_seq, epoch = self.asked.after_seq, self.asked.epoch
        recovered = after_seq is not None and epoch == str(self.epoch)
        first = not self.room.epoch
        lost = self.room.joined(Joined("lobby", str(self.epoch), self.head, recovered))
        assert lost is (Lost.NOTHING if first or recovered else Lost.ALL)
        if recovered:
            self.due = list(range((after_seq or 0) + 1, self.head + 1))
        else:
            self.seen = [(str(self.epoch), self.head)]
        self.asked = None

    @precondition(lambda self: self.asked is not None)
    @rule(retryable=st.booleans())
    def it_is_refused(self, retryable: bool) -> None:
        error = errors.unavailable() if retryable else errors.invalid("room_id: wrong")
        ready = self.room.ready
        self.room.join_refused(error)
        assert ready.result() is error
        assert all(future.done() for _, _, future in self.waiting)
        self.waiting.clear()
        self.asked = None

    @precondition(lambda self: self.due)
    @rule()
    def a_message_is_delivered(self) -> None:
        assert self.room.advance(self.due.pop(0))
        self.room.note_delivered()
        self.seen.append((self.room.epoch, self.room.last_seq))

    @precondition(lambda self: self.room.live)
    @rule(ahead=st.integers(0, 4))
    def somebody_waits_for_a_position(self, ahead: int) -> None:
        seq = self.room.last_seq + ahead
        assert self.room.is_behind(Join("lobby", seq)) is (ahead > 0)
        self.waiting.append((self.room.epoch, seq, self.room.milestone(seq)))

    @rule(back=st.integers(0, 3))
    def a_message_comes_again(self, back: int) -> None:
        before = self.room.last_seq
        assert not self.room.advance(before - back)
        assert self.room.last_seq == before

    @precondition(lambda self: self.room.live)
    @rule(ahead=st.integers(2, 5))
    def a_message_is_left_out(self, ahead: int) -> None:
        before = self.room.last_seq
        with pytest.raises(GapError):
            self.room.advance(before + ahead)
        assert self.room.last_seq == before

    @invariant()
    def members_see_no_gap(self) -> None:
        if self.seen:
            epoch, start = self.seen[0]
            assert self.seen == [(epoch, start + index) for index in range(len(self.seen))]

    @invariant()
    def what_was_seen_and_what_is_due_is_all(self) -> None:
        if self.room.live:
            assert self.room.epoch == str(self.epoch)
            assert self.due == list(range(self.room.last_seq + 1, self.head + 1))

    @invariant()
    def who_waits_for_a_position_learns_of_it(self) -> None:
        for epoch, seq, future in self.waiting:
            reached = seq <= self.room.last_seq or epoch != self.room.epoch
            assert future.done() is reached
        assert not self.room.milestones or any(not each.done() for _, _, each in self.waiting)

    @invariant()
    def who_waits_learns_of_it(self) -> None:
        if self.room.live:
            assert self.room.ready.result() is None
        if self.asked is not None:
            assert not self.room.ready.done()


async def test_room_follows_its_history() -> None:
    # In a test that is asynchronous: a room's future belongs to the event loop.
    run_state_machine_as_test(Following, settings=settings(MODEL, max_examples=50))


async def test_replay_decision_matches_the_model() -> None:
    @given(
        last_seq=st.integers(0, 8),
        after_seq=st.none() | st.integers(0, 10),
        epoch=st.sampled_from([None, "", "this", "that"]),
        limit=st.integers(0, 9),
        last_change=st.none() | st.integers(0, 3),
        after_change=st.none() | st.integers(0, 4),
    )
    def check(
        last_seq: int,
        after_seq: int | None,
        epoch: str | None,
        limit: int,
        last_change: int | None,
        after_change: int | None,
    ) -> None:
        room: Room = Room("lobby")
        room.joined(Joined("lobby", "this", last_seq, False, last_change))
        history = list(range(1, last_seq + 1))
        known = after_seq is not None and (after_seq == 0 or after_seq in history)
        missed = [seq for seq in history if seq > (after_seq or 0)]
        # Of a server that tells of no changes, nobody can have had any.
        ahead = last_change is not None and (after_change or 0) > last_change
        expected = known and not ahead and epoch in {None, "this"} and len(missed) <= limit
        join = Join("lobby", after_seq, epoch, after_change=after_change)
        assert room.can_replay(join, limit) is expected
        if epoch in {None, "this"}:
            assert room.is_behind(join) is ((after_seq or 0) > last_seq or ahead)

    check()


class Needing(RuleBasedStateMachine):
    """Rooms that come and go with their members and pins, and the commands to the server."""

    room_ids = st.sampled_from(["a", "b"])
    clients = st.integers(0, 1)

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.outbox.open()
        self.rooms = Rooms(proxy.Config(), self.outbox, people(self.outbox))
        self.followers = [Follower(), Follower()]
        self.pins: list[tuple[Room, AbstractContextManager[Room]]] = []
        # The model: the rooms that the server was asked for, and has not refused.
        self.subscribed: dict[str, Room] = {}

    @rule(room_id=room_ids, index=clients)
    def enter(self, room_id: str, index: int) -> None:
        room = self.subscribed[room_id] = self.rooms.need(room_id)
        self.rooms.add_member(self.followers[index], room)

    @rule(room_id=room_ids, index=clients)
    def leave(self, room_id: str, index: int) -> None:
        self.rooms.leave(self.followers[index], room_id)
        self.forget_unneeded()

    @rule(room_id=room_ids)
    def pin(self, room_id: str) -> None:
        context = self.rooms.pinned(room_id)
        room = self.subscribed[room_id] = context.__enter__()
        self.pins.append((room, context))

    @precondition(lambda self: self.pins)
    @rule()
    def unpin(self) -> None:
        _, context = self.pins.pop(0)
        context.__exit__(None, None, None)
        self.forget_unneeded()

    @rule(room_id=room_ids)
    def refuse(self, room_id: str) -> None:
        """A later room of the same name is another one."""
        if (room := self.rooms.get(room_id)) is not None:
            self.rooms.join_refused(room, errors.invalid("room_id: wrong"))
            del self.subscribed[room_id]
            assert not any(room_id in follower.rooms for follower in self.followers)

    def forget_unneeded(self) -> None:
        pinned = [room for room, _ in self.pins]
        self.subscribed = {
            room_id: room
            for room_id, room in self.subscribed.items()
            if room in pinned or any(room_id in each.rooms for each in self.followers)
        }

    @invariant()
    def agrees(self) -> None:
        assert {room.room_id: room for room in self.rooms} == self.subscribed
        assert len(self.rooms) == len(self.subscribed)
        for item in self.outbox.take():
            assert isinstance(item, RelayCommand)
            match item.command:
                case Join(room_id=room_id):
                    assert self.rooms.room_of_join(item.ref) is self.subscribed.get(room_id)
                case Leave(room_id=room_id):
                    assert room_id not in self.subscribed


async def test_rooms_come_and_go() -> None:
    run_state_machine_as_test(Needing, settings=settings(MODEL, max_examples=30))


async def test_rooms_may_go_during_iteration() -> None:
    outbox = Outbox()
    rooms, client = Rooms(proxy.Config(), outbox, people(outbox)), Follower()
    for room_id in ("a", "b", "c"):
        rooms.add_member(client, rooms.need(room_id))
    for room in rooms:
        rooms.leave(client, room.room_id)
    assert len(rooms) == 0


async def test_room_can_be_awaited_again() -> None:
    room: Room = Room("lobby")
    room.joined(Joined("lobby", "this", 0, recovered=False))
    room.start_join(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.shield(room.ready)
    room.joined(Joined("lobby", "this", 0, recovered=True))
    assert await room.ready is None
