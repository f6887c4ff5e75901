"""What is told beside messages: to whom, how often, in what pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chat.core.membership import Following, Membership, membership_of
from chat.core.presence import Presence
from chat.core.rooms import Room, Rooms
from chat.core.spans import FRAME_BYTES, Span
from chat.core.stream import LiveStream
from chat.core.telling import CHANGES_SECONDS, MOST_READERS, READS_SECONDS, Telling
from chat.metrics import ServerMetrics
from chat.storage.listener import Head, UserMark
from chat.storage.rooms import room_of
from gen.chat import (
    Join,
    JoinFollow,
    Mark,
    MessageChange,
    MessageState,
    Reads,
    RoomChanges,
)
from gen.chat import Room as RoomInfo
from hosting.faults import Faults
from tests.chat.core import nodes
from tests.chat.core.nodes import ROOM
from tests.clock import ClockLoop

CHANGES: Any = JoinFollow.CHANGES
READS: Any = JoinFollow.READS


def span(after: int, *changed: tuple[int, str | None]) -> RoomChanges:
    """A span in which messages change one after the other, each with its text if it changed.

    A message 0 stands for the room itself.
    """
    numbered = list(enumerate(changed, after + 1))
    messages = [
        MessageChange(seq, text, MessageState(change=number))
        for number, (seq, text) in numbered
        if seq
    ]
    told = RoomChanges(ROOM, after, after + len(changed), messages)
    for number, (seq, text) in numbered:
        if not seq:
            told.room = RoomInfo(ROOM, (text or "")[:9], change=number)
    return told


class Stream(nodes.Stream):
    """A stream that notes what it is told, and from where a room goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[int] = []

    def renewed(self, room_id: str, last_seq: int) -> None:
        assert room_id == ROOM
        self.lost.append(last_seq)

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [(each.after_change, each.last_change) for each in self.told]


class World:
    """A room with its telling."""

    def __init__(self) -> None:
        self.rooms: Rooms[LiveStream] = Rooms()
        self.presence: Presence[LiveStream] = Presence()
        self.metrics = ServerMetrics()
        self.telling = Telling(self.rooms, self.presence, self.metrics, Faults())

    def enter(
        self, stream: Stream, *follow: Any, user_id: str | None = "", change: int = 0
    ) -> None:
        stay = membership_of(Join(ROOM, follow=list(follow)), user_id)
        if isinstance(stay, Following):
            stay.change = change
        with self.rooms.pinned(ROOM) as room:
            room.learn(Head(10, 0))
            room.enter(stream, stay)

    @property
    def room(self) -> Room[LiveStream]:
        room = self.rooms.get(ROOM)
        assert room is not None
        return room


async def test_changes_are_told_four_times_a_second(loop: ClockLoop) -> None:
    world, follower, plain, late = World(), Stream(), Stream(), Stream()
    world.enter(follower, CHANGES)
    world.enter(plain)
    for change in range(6):
        world.telling.changed(span(change, (1 + change % 2, None)))
    assert follower.spans == [(0, 1)]
    world.enter(late, CHANGES, change=4)
    await loop.pass_time(CHANGES_SECONDS)
    assert follower.spans == [(0, 1), (1, 6)]
    assert [each.seq for each in follower.told[1].messages] == [1, 2]
    assert late.spans == [(1, 6)]
    await loop.pass_time(CHANGES_SECONDS)
    world.telling.changed(span(6, (3, None)))
    assert follower.spans[2:] == late.spans[1:] == [(6, 7)]
    assert not plain.told
    assert world.metrics.notices == 5


async def test_hundreds_of_streams_are_told_less_often(loop: ClockLoop) -> None:
    world, streams = World(), [Stream() for _ in range(500)]
    for stream in streams:
        world.enter(stream, CHANGES)
    for change in range(5):
        world.telling.changed(span(change, (1, None)))
        await loop.pass_time(CHANGES_SECONDS)
    assert all(each.spans == [(0, 1), (1, 2), (2, 4)] for each in streams)


async def test_who_has_it_all_is_not_told_again(loop: ClockLoop) -> None:
    world, follower, newcomer = World(), Stream(), Stream()
    world.enter(follower, CHANGES)
    world.telling.changed(span(0, (1, None)))
    world.telling.changed(span(1, (2, None)))
    world.enter(newcomer, CHANGES, change=2)
    await loop.pass_time(CHANGES_SECONDS)
    assert (follower.spans, newcomer.spans) == ([(0, 1), (1, 2)], [])


async def test_what_is_large_does_not_wait(loop: ClockLoop) -> None:
    world, follower = World(), Stream()
    world.enter(follower, CHANGES)
    text = "x" * 16_000
    for change in range(40):
        world.telling.changed(span(change, (1 + change, text)))
    assert len(follower.told) > 1
    assert all(len(each.messages) <= FRAME_BYTES // 16_000 for each in follower.told)
    await loop.pass_time(CHANGES_SECONDS)
    assert follower.told[-1].last_change == 40


async def test_failure_costs_one_follower_its_place(loop: ClockLoop) -> None:
    world, first, deaf, last = World(), Stream(), Stream(), Stream()
    deaf.deaf = True
    for stream in (first, deaf, last):
        world.enter(stream, CHANGES, READS)
    with capture_logs() as lines:
        world.telling.changed(span(0, (1, None)))
    assert [line["event"] for line in lines] == ["notice failed"]
    assert first.spans == last.spans == [(0, 1)]
    assert deaf.lost == [10]
    deaf.deaf = False
    await loop.pass_time(CHANGES_SECONDS)
    world.telling.changed(span(1, (1, None)))
    assert deaf.spans == [(1, 2)]


async def test_marks_are_told_once_to_each_stream_of_the_user() -> None:
    world = World()
    asked, sent, both, proxy, other, plain = (Stream() for _ in range(6))
    world.enter(asked, CHANGES, user_id="ada")
    world.enter(sent, CHANGES)
    world.enter(both, READS, user_id="ada")
    world.enter(proxy, CHANGES, user_id=None)
    world.enter(other, CHANGES, user_id="bob")
    world.enter(plain)
    for stream in (sent, both, proxy, plain):
        world.presence.attach(stream, "ada")
    mark = Mark(ROOM, 3)
    world.telling.marked(UserMark("ada", mark))
    world.telling.marked(UserMark("ada", Mark("another", 1)))
    assert asked.told == sent.told == proxy.told == [mark]
    assert both.told == [mark, Reads(ROOM, ["ada"], [3])]
    assert not other.told
    assert not plain.told
    world.rooms.leave(ROOM, asked)
    world.telling.marked(UserMark("ada", mark))
    assert len(asked.told) == 1


@pytest.mark.parametrize("members", [MOST_READERS, MOST_READERS + 1])
async def test_reads_are_told_where_few_are(members: int, loop: ClockLoop) -> None:
    world, reader = World(), Stream()
    world.enter(reader, READS)
    for _ in range(members - 1):
        world.enter(Stream())
    for seq in (1, 2, 3):
        world.telling.marked(UserMark("ada", Mark(ROOM, seq)))
        world.telling.marked(UserMark("bob", Mark(ROOM, seq)))
    await loop.pass_time(READS_SECONDS)
    told = [Reads(ROOM, ["ada"], [1]), Reads(ROOM, ["bob", "ada"], [3, 3])]
    assert reader.told == (told if members <= MOST_READERS else [])


async def test_reads_of_too_many_users_are_not_told(loop: ClockLoop) -> None:
    """A proxy is one member, and may have many clients."""
    world, proxy = World(), Stream()
    world.enter(proxy, READS, user_id=None)
    for number in range(MOST_READERS + 2):
        world.telling.marked(UserMark(str(number), Mark(ROOM, 1)))
    await loop.pass_time(READS_SECONDS)
    assert sum(isinstance(each, Reads) for each in proxy.told) == 1


def test_followers_leave_nothing_behind() -> None:
    world = World()
    streams = [Stream() for _ in range(3)]
    for stream, follow in zip(streams, [[CHANGES], [READS], []], strict=True):
        world.enter(stream, *follow, user_id="ada")
    followers = world.room.followers
    assert followers is not None
    assert (len(followers), followers.readers) == (2, 1)
    assert [stream in followers for stream in streams] == [True, True, False]
    room = world.room
    for stream in streams[:2]:
        world.rooms.leave(ROOM, stream)
        world.rooms.leave(ROOM, stream)
    assert room.followers is None
    assert followers.of_user("ada") == []
    assert followers.readers == 0


def test_next_stay_is_told_the_same() -> None:
    stay = membership_of(Join(ROOM, follow=[READS]), "ada").again(7)
    assert isinstance(stay, Following)
    assert (stay.changes, stay.reads, stay.user_id, stay.change) == (False, True, "ada", 7)
    assert not isinstance(Membership().again(7), Following)


TEXTS: Final = st.none() | st.sampled_from(["", "short", "字" * 30_000, "x" * 70_000])
# A message 0 is the room itself.
CHANGED: Final = st.lists(st.lists(st.tuples(st.integers(0, 4), TEXTS), max_size=5), min_size=1)


@given(CHANGED)
def test_merged_spans_leave_the_same_behind(
    spans: Sequence[Sequence[tuple[int, str | None]]],
) -> None:
    """Whether a client gets all changes one by one, or a span, or its pieces."""
    expected: dict[int, tuple[str | None, int]] = {}
    change = 0
    info: RoomInfo | None = None
    merged: Span | None = None
    for changed in spans:
        distinct = list(dict(changed).items())
        told = span(change, *distinct)
        for each in told.messages:
            before = expected.get(each.seq, (None, 0))[0]
            text = before if each.content is None else each.content
            expected[each.seq] = text, each.state.change
        info = room_of(told) or info
        change = told.last_change
        merged = Span(told) if merged is None else merged.extend(Span(told))
    assert merged is not None
    position = 0
    got: dict[int, tuple[str | None, int]] = {}
    got_info: RoomInfo | None = None
    for frame in merged.frames():
        assert frame.after_change == position
        position = frame.last_change
        size = sum(len((each.content or "").encode()) for each in frame.messages)
        assert len(frame.messages) <= 1 or size <= FRAME_BYTES
        room = room_of(frame)
        if room is not None:
            assert got_info is None
            assert frame.after_change < room.change <= frame.last_change
            got_info = room
        got.update((each.seq, (each.content, each.state.change)) for each in frame.messages)
    assert (position, got, got_info) == (change, expected, info)
