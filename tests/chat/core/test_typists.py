"""Who types, compared with a plain list of who said so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from chat.core.typists import HOLD_SECONDS, MOST_TYPISTS, Typing, TypingRooms

ROOM: Final = "room"
HOLD: Final = HOLD_SECONDS
USERS: Final = ("ada", "ben", "cy", "dee", "eve", "flo", "gus")
SOME: Final = st.lists(st.sampled_from(USERS), unique=True, max_size=MOST_TYPISTS)
NOBODY: Final = Typing()

STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("types"), st.sampled_from(("stream", "other")), st.sampled_from(USERS)),
        st.tuples(st.just("put"), SOME, st.integers(0, 3)),
        st.tuples(st.just("hear"), st.sampled_from(("north", "south")), SOME, st.integers(0, 3)),
        st.tuples(st.just("leave"), st.sampled_from(("stream", "other", "link"))),
        st.tuples(st.just("lose"), st.sampled_from(("north", "south"))),
        st.tuples(st.just("pass"), st.sampled_from([0.2, 1.0, 2.5, 4.0, 7.0])),
    ),
    max_size=25,
)


class World:
    """Who types, what followers were told of it, and what they show."""

    def __init__(self) -> None:
        self.real: TypingRooms[str] = TypingRooms()
        self.now = 0.0
        # By source and user: until when it types, and in which order users began.
        self.until: dict[tuple[str, str], float] = {}
        self.told = NOBODY
        self.told_at = 0.0
        self.tells = 0

    @property
    def users(self) -> set[str]:
        return {user for (_, user), until in self.until.items() if until > self.now}

    @property
    def shown(self) -> Typing:
        """What a client shows: what it was told last, for as long as that holds."""
        return self.told if self.now < self.told_at + HOLD else NOBODY

    def tell(self) -> None:
        typing = self.real.for_followers(ROOM, self.now)
        if typing is not None:
            self.tells += 1
            self.told, self.told_at = typing, self.now

    def pass_until(self, end: float) -> None:
        while (at := self.real.look_at(ROOM, self.now)) is not None and at <= end:
            self.now = max(at, self.now)
            self.tell()
        self.now = end

    def drop(self, source: str) -> None:
        self.until = {key: until for key, until in self.until.items() if key[0] != source}

    def apply(self, step: Any) -> None:
        real, now, until = self.real, self.now, self.now + HOLD
        match step:
            case ("types", source, user):
                real.types(ROOM, source, user, now)
                self.until[source, user] = until
            case ("put", users, others):
                real.put(ROOM, "link", users, others, now)
                self.drop("link")
                self.until.update({("link", user): until for user in users})
            case ("hear", node, users, others):
                real.hear(ROOM, node, users, others, now)
                self.drop(node)
                self.until.update({(node, user): until for user in users})
            case ("leave", source):
                real.leave(ROOM, source)
                self.drop(source)
            case ("lose", node):
                real.lose(node)
                self.drop(node)
            case ("pass", seconds):
                self.pass_until(self.now + seconds)
        self.tell()


@given(STEPS)
def test_who_types_is_shown_and_nobody_for_ever(steps: Sequence[Any]) -> None:
    world = World()
    for step in steps:
        world.apply(step)
        shown = world.shown
        assert shown == world.real.now(ROOM, world.now)
        assert set(shown.user_ids) <= world.users
        assert len(shown.user_ids) == min(len(world.users), MOST_TYPISTS)
        assert shown.others >= len(world.users) - len(shown.user_ids)
    before = world.tells
    world.pass_until(world.now + HOLD)
    assert world.shown == world.told == NOBODY
    assert world.real.look_at(ROOM, world.now) is None
    assert len(world.real) == 0
    # Each of those who typed ceased once; once in half the time it was told again.
    assert world.tells - before <= len(USERS) * 2 + 4 + 2


def test_those_who_began_first_are_named() -> None:
    real: TypingRooms[str] = TypingRooms()
    for at, user in enumerate(reversed(USERS)):
        real.types(ROOM, user, user, at / 10)
    assert real.now(ROOM, 1.0) == Typing(tuple(reversed(USERS[2:])), 2)
    real.leave(ROOM, "gus")
    assert real.now(ROOM, 1.0) == Typing(("flo", "eve", "dee", "cy", "ben"), 1)


def test_same_is_told_again_before_it_ends() -> None:
    real: TypingRooms[str] = TypingRooms()
    real.types(ROOM, "stream", "ada", 0.0)
    assert real.for_followers(ROOM, 0.0) == Typing(("ada",))
    real.types(ROOM, "other", "ada", 2.9)
    assert real.for_followers(ROOM, 2.9) is None
    # A client would show her until 6.0, and she types until 8.9.
    assert real.look_at(ROOM, 2.9) == 3.0
    assert real.for_followers(ROOM, 3.0) == Typing(("ada",))
    assert real.for_followers(ROOM, 8.9) == NOBODY
    assert real.look_at(ROOM, 8.9) is None


def test_nodes_are_told_of_this_one_alone() -> None:
    real: TypingRooms[str] = TypingRooms()
    real.hear(ROOM, "north", ["ada"], 2, 0.0)
    assert real.for_nodes(ROOM, 0.0) is None
    real.put(ROOM, "link", ["ben"], 1, 0.0)
    assert real.for_nodes(ROOM, 0.0) == Typing(("ben",), 1)
    assert real.for_followers(ROOM, 0.0) == Typing(("ada", "ben"), 3)
    assert real.for_nodes(ROOM, HOLD) == NOBODY


def test_word_of_a_proxy_replaces_the_one_before() -> None:
    real: TypingRooms[str] = TypingRooms()
    real.put(ROOM, "link", ["ada", "ben"], 2, 0.0)
    assert real.now(ROOM, 0.0) == Typing(("ada", "ben"), 2)
    real.put(ROOM, "link", ["ben"], 0, 1.0)
    assert real.now(ROOM, 1.0) == Typing(("ben",))
    real.put(ROOM, "link", [], 0, 2.0)
    assert real.now(ROOM, 2.0) == NOBODY
