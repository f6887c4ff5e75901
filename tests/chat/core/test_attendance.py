"""Who is in rooms, compared with a plain list of who came and went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.core.attendance import (
    MOST_OF_LINK,
    MOST_OF_STREAM,
    MOST_SHOWN,
    NODE_SECONDS,
    Attendance,
    State,
)
from chat.core.crowd import HeldCount

ROOM: Final = "room"
LINGER: Final = 15.0
USERS: Final = ("ada", "ben", "cy")
SOURCES: Final = ("stream", "other stream", "link")
NODES: Final = ("north", "south")


SOME: Final = st.lists(st.sampled_from(USERS), unique=True, max_size=3)
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from(SOURCES[:2]), st.sampled_from(USERS)),
        st.tuples(st.just("put"), st.just("link"), SOME, st.integers(0, 3)),
        st.tuples(st.just("leave"), st.sampled_from(SOURCES)),
        st.tuples(st.just("hear"), st.sampled_from(NODES), SOME, st.integers(0, 3)),
        st.tuples(st.just("lose"), st.sampled_from(NODES)),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 5.0, 14.5, 30.0, 80.0])),
    ),
    max_size=20,
)


class World:
    """Who is there, beside what is to be tested.

    Attributes:
        last: when each user was last there.
    """

    def __init__(self) -> None:
        self.real: Attendance[str] = Attendance(LINGER)
        self.now = 0.0
        self.named: dict[str, set[str]] = {}
        self.others: dict[str, int] = {}
        self.heard: dict[str, float] = {}
        self.last: dict[str, float] = {}

    @property
    def users(self) -> set[str]:
        return set().union(*self.named.values())

    @property
    def count(self) -> int:
        return len(self.users) + sum(self.others.values())

    def put(self, source: str, users: Sequence[str], others: int) -> None:
        self.last.update(dict.fromkeys(self.users, self.now))
        self.named[source], self.others[source] = set(users), others

    def drop(self, source: str) -> None:
        self.put(source, (), 0)

    def pass_until(self, end: float) -> None:
        while (at := self.real.next_at()) is not None and at <= end:
            self.now = at
            for node, heard_at in self.heard.items():
                if heard_at + NODE_SECONDS <= at:
                    self.drop(node)
            self.real.expire(at)
        self.now = end

    def apply(self, step: Any) -> None:
        match step:
            case ("enter", source, user):
                self.real.enter(ROOM, source, user)
                self.named.setdefault(source, set()).add(user)
            case ("put", source, users, others):
                self.real.put(ROOM, source, len(users) + others, users, self.now)
                self.put(source, users, others)
            case ("leave", source):
                self.real.leave(ROOM, source, self.now)
                self.drop(source)
            case ("hear", node, users, others):
                self.real.hear(ROOM, node, len(users) + others, users, self.now)
                self.put(node, users, others)
                self.heard[node] = self.now
            case ("lose", node):
                self.real.lose(node, self.now)
                self.drop(node)
            case ("pass", seconds):
                self.pass_until(self.now + seconds)


@given(STEPS)
def test_users_are_there_and_nobody_stays(steps: Sequence[Any]) -> None:
    """Nobody who is there is left out; whoever has gone is there no longer than that while."""
    world = World()
    real = world.real
    for step in steps:
        world.apply(step)
        users = set(real.users(ROOM))
        lately = {user for user, at in world.last.items() if world.now - at < LINGER}
        assert world.users <= users <= world.users | lately
        assert real.count(ROOM) >= world.count
        assert all(real.is_in(ROOM, user) == (user in users) for user in USERS)
    # At rest it is who is there: nothing waits, nothing was forgotten.
    for node in NODES:
        world.apply(("lose", node))
    world.pass_until(world.now + LINGER)
    assert real.next_at() is None
    assert real.state(ROOM) == State(world.count, tuple(sorted(world.users)))
    for source in SOURCES:
        world.apply(("leave", source))
    world.pass_until(world.now + LINGER)
    assert (len(real), real.next_at()) == (0, None)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.floats(0, 10)), max_size=40))
def test_count_is_the_most_of_a_while(steps: Sequence[tuple[bool, int, float]]) -> None:
    held, count, now = HeldCount(), 0, 0.0
    history = [(0.0, 0)]
    for raises, by, seconds in steps:
        now += seconds
        held.expire(now)
        if raises:
            held.raise_by(by)
            count += by
        elif count >= by > 0:
            held.fall_by(by, now + LINGER)
            count -= by
        history.append((now, count))
        # A value held until the next one replaced it.
        ends = [at for at, _ in history[1:]] + [now + LINGER + 1]
        lately = [
            value for (_, value), end in zip(history, ends, strict=True) if end + LINGER > now
        ]
        assert held.value == max(lately)


def test_many_falls_are_remembered_together() -> None:
    held = HeldCount()
    held.raise_by(1000)
    for second in range(100):
        held.fall_by(1, second / 100 + LINGER)
    assert held.value == 1000
    held.expire(LINGER + 2)
    assert held.value == 900


def test_whoever_comes_back_was_never_away() -> None:
    real: Attendance[str] = Attendance(LINGER)
    real.put(ROOM, "link", 5, ["ada", "ben"], 0.0)
    state = real.state(ROOM)
    real.leave(ROOM, "link", 1.0)
    for at in (2.0, 15.0):
        real.expire(at)
        assert real.state(ROOM) == state
    real.put(ROOM, "another link", 5, ["ada", "ben"], 15.5)
    real.expire(40.0)
    assert real.state(ROOM) == state


def test_named_users_were_counted_before() -> None:
    """A proxy that is asked for names tells of nobody new; nor one that is asked no longer."""
    real: Attendance[str] = Attendance(LINGER)
    real.put(ROOM, "link", 2, [], 0.0)
    real.put(ROOM, "link", 2, ["ada", "ben"], 1.0)
    assert real.state(ROOM) == State(2, ("ada", "ben"))
    real.put(ROOM, "link", 3, [], 2.0)
    assert real.state(ROOM) == State(3)


def test_nobody_is_named_where_many_are() -> None:
    real: Attendance[str] = Attendance(LINGER)
    users = [f"user {number:02}" for number in range(MOST_SHOWN + 1)]
    real.put(ROOM, "link", len(users) - 1, users[:-1], 0.0)
    assert real.state(ROOM) == State(MOST_SHOWN, tuple(users[:-1]))
    real.enter(ROOM, "stream", users[-1])
    assert real.state(ROOM) == State(MOST_SHOWN + 1)
    assert real.near(ROOM) == State(MOST_SHOWN + 1, tuple(users[:-1]))
    assert sorted(real.users(ROOM)) == users


def test_user_at_two_nodes_counts_once() -> None:
    real: Attendance[str] = Attendance(LINGER)
    real.enter(ROOM, "stream", "ada")
    real.hear(ROOM, "north", 2, ["ada", "ben"], 0.0)
    assert real.count(ROOM) == 2
    assert real.near(ROOM) == State(1, ("ada",))
    # What another node tells has waited there.
    real.hear(ROOM, "north", 0, [], 1.0)
    assert real.count(ROOM) == 1


@pytest.mark.parametrize("seconds", [NODE_SECONDS, None])
def test_users_of_a_lost_node_may_come_here(seconds: float | None) -> None:
    real: Attendance[str] = Attendance(LINGER)
    real.hear(ROOM, "north", 3, ["ada"], 0.0)
    now = seconds or 1.0
    if seconds is None:
        assert real.lose("north", now) == [ROOM]
    else:
        real.expire(now)
    assert real.state(ROOM) == State(3, ("ada",))
    real.expire(now + LINGER)
    assert len(real) == 0


def test_names_of_a_source_are_bounded() -> None:
    real: Attendance[str] = Attendance(LINGER)
    for number in range(MOST_OF_STREAM):
        assert real.enter(f"room {number % 7}", "stream", f"user {number}")
    assert not real.enter(ROOM, "stream", "one more")
    assert not real.has(ROOM, "stream", "one more")
    real.leave("room 0", "stream", 0.0)
    assert real.enter(ROOM, "stream", "one more")


def test_names_of_a_link_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_OF_LINK == 1_000_000
    monkeypatch.setattr("chat.core.attendance.MOST_OF_LINK", 3)
    real: Attendance[str] = Attendance(LINGER)
    real.put("one", "link", 2, ["ada", "ben"], 0.0)
    real.put("two", "link", 2, ["ada", "ben"], 0.0)
    assert real.state("two") == State(2)
    real.put("one", "link", 1, ["ada"], 0.0)
    real.put("two", "link", 2, ["ada", "ben"], 0.0)
    assert real.state("two") == State(2, ("ada", "ben"))
