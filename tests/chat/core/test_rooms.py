"""Membership, and the seam between history and live messages."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from chat.core.membership import Membership
from chat.core.rooms import Room, Rooms
from chat.storage.listener import Head
from gen.chat import RoomChanges
from tests.support import MODEL

ROOM = "room"

# Shrinking a failure takes a while.
pytestmark = pytest.mark.timeout(300)


def admit(rooms: Rooms[str], member: str, head: int) -> None:
    """Adds a member to a room as the hub does."""
    with rooms.pinned(ROOM) as room:
        room.learn(Head(head))
        room.enter(member, Membership())


def test_members_keep_their_order() -> None:
    rooms: Rooms[str] = Rooms()
    for name in ("eve", "ada", "bob"):
        admit(rooms, name, head=0)
    assert list(rooms.advance(ROOM, 1)) == ["eve", "ada", "bob"]
    assert list(rooms.advance("another room", 1)) == []


def test_empty_room_is_forgotten() -> None:
    rooms: Rooms[str] = Rooms()
    with rooms.pinned(ROOM):
        assert len(rooms) == 1
    assert len(rooms) == 0
    admit(rooms, "ada", head=0)
    rooms.leave(ROOM, "bob")
    assert len(rooms) == 1
    rooms.leave(ROOM, "ada")
    rooms.leave(ROOM, "ada")
    assert len(rooms) == 0


def test_late_look_up_skips_nothing() -> None:
    """Of two concurrent look-ups, the later result covers what is not yet announced."""
    rooms: Rooms[str] = Rooms()
    with rooms.pinned(ROOM) as early, rooms.pinned(ROOM) as late:
        early.learn(Head(5, 2))
        early.enter("ada", Membership())
        late.learn(Head(6, 3))
        late.enter("bob", Membership())
    assert list(rooms.advance(ROOM, 6)) == ["ada", "bob"]
    assert early.hear(RoomChanges(ROOM, 2, 3))


def test_what_was_announced_meanwhile_and_what_was_found_belong_together() -> None:
    """A change of message 6 may be known only if 6 is: nobody is told of it again."""
    rooms: Rooms[str] = Rooms()
    with rooms.pinned(ROOM) as room:
        rooms.advance(ROOM, 5)
        room.learn(Head(6, 3))
        assert room.head == (6, 3)
        room.enter("ada", Membership())
        assert not rooms.advance(ROOM, 6)
        assert not room.hear(RoomChanges(ROOM, 2, 3))


def test_what_is_announced_meanwhile_is_newer_than_what_was_found() -> None:
    rooms: Rooms[str] = Rooms()
    with rooms.pinned(ROOM) as room:
        rooms.advance(ROOM, 6)
        assert not room.hear(RoomChanges(ROOM, 3, 4))
        room.learn(Head(5, 3))
        assert (room.head, room.told_change) == ((6, 4), 4)


@dataclass(eq=False)
class Member:
    """A joining member and its messages.

    Attributes:
        pin: holds the room while joining.
        room: the pinned room.
        sees: if the room's head is unknown, it is looked up: the look-up returns at least this.
        seen: messages read from the history, and delivered ones.
    """

    pin: ExitStack
    room: Room[Member]
    sees: int | None
    seen: list[int] = field(default_factory=list)


class RoomMachine(RuleBasedStateMachine):
    """A room whose messages are stored first and announced later, as by a database.

    A joining member reads the history up to the head of that moment. From then on it gets each
    announced message in order, once, without gaps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rooms: Rooms[Member] = Rooms()
        self.stored = 0
        self.announced = 0
        self.members: list[Member] = []
        self.pinned = 0

    entering: Bundle[Member] = Bundle("entering")
    inside: Bundle[Member] = Bundle("inside")

    @rule(number=st.integers(1, 3))
    def store(self, number: int) -> None:
        self.stored += number

    @precondition(lambda self: self.announced < self.stored)
    @rule()
    def announce(self) -> None:
        self.announced += 1
        for member in self.rooms.advance(ROOM, self.announced):
            member.seen.append(self.announced)

    @rule(target=entering, number=st.integers(1, 2))
    def begin_to_enter(self, number: int) -> MultipleResults[Member]:
        return multiple(*(self.newcomer() for _ in range(number)))

    def newcomer(self) -> Member:
        pin = ExitStack()
        room = pin.enter_context(self.rooms.pinned(ROOM))
        self.pinned += 1
        return Member(pin, room, sees=None if room.is_known else self.announced)

    def unpin(self, member: Member) -> None:
        member.pin.close()
        self.pinned -= 1

    @rule(target=inside, member=consumes(entering), data=st.data())
    def enter(self, member: Member, data: st.DataObject) -> Member:
        if member.sees is not None:
            member.room.learn(Head(data.draw(st.integers(member.sees, self.stored), "found")))
        assert member.room.last_seq is not None
        member.seen = list(range(1, member.room.last_seq + 1))
        member.room.enter(member, Membership())
        self.unpin(member)
        self.members.append(member)
        return member

    @rule(member=consumes(entering))
    def give_up(self, member: Member) -> None:
        self.unpin(member)

    @rule(member=consumes(inside))
    def leave(self, member: Member) -> None:
        self.rooms.leave(ROOM, member)
        self.members.remove(member)

    @invariant()
    def a_room_is_there_while_somebody_needs_it(self) -> None:
        assert len(self.rooms) == bool(self.members or self.pinned)

    @invariant()
    def nothing_is_missing_or_repeated(self) -> None:
        for member in self.members:
            assert member.seen == list(range(1, len(member.seen) + 1))
            assert self.announced <= len(member.seen) <= self.stored

    def teardown(self) -> None:
        while self.announced < self.stored:
            self.announce()
        self.nothing_is_missing_or_repeated()


TestRoomMachine = RoomMachine.TestCase
TestRoomMachine.settings = settings(MODEL, max_examples=100)
