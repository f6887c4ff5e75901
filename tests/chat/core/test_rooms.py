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

from chat.core.rooms import Room, Rooms
from tests.support import MODEL

ROOM = "room"

# Shrinking a failure takes a while.
pytestmark = pytest.mark.timeout(300)


def admit(rooms: Rooms[str], member: str, head: int) -> None:
    """Adds a member to a room as the hub does."""
    with rooms.pinned(ROOM) as room:
        room.set_last_seq_if_unknown(head)
        room.members[member] = None


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


def test_late_look_up_skips_no_message() -> None:
    """Of two concurrent look-ups, the later result covers a message not yet announced."""
    rooms: Rooms[str] = Rooms()
    with rooms.pinned(ROOM) as early, rooms.pinned(ROOM) as late:
        early.set_last_seq_if_unknown(5)
        early.members["ada"] = None
        late.set_last_seq_if_unknown(6)
        late.members["bob"] = None
    assert list(rooms.advance(ROOM, 6)) == ["ada", "bob"]


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
        return Member(pin, room, sees=self.announced if room.last_seq is None else None)

    def unpin(self, member: Member) -> None:
        member.pin.close()
        self.pinned -= 1

    @rule(target=inside, member=consumes(entering), data=st.data())
    def enter(self, member: Member, data: st.DataObject) -> Member:
        if member.sees is not None:
            member.room.set_last_seq_if_unknown(
                data.draw(st.integers(member.sees, self.stored), "found")
            )
        assert member.room.last_seq is not None
        member.seen = list(range(1, member.room.last_seq + 1))
        member.room.members[member] = None
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
