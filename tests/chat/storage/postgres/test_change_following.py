"""What is announced of changes: a model of a database, and events in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chat.storage.postgres.change_following import ChangeFetch, ChangeFollowing
from chat.storage.postgres.following import Following
from chat.storage.postgres.stays import MessageStay
from gen.chat import ChatMessage, MessageChange, MessageState, RoomChanges
from tests.support import MODEL

ROOMS = ["a", "b"]
rooms = st.sampled_from(ROOMS)
some = st.integers(0, 1000)
MOST = 2
"""How many changes of a room a fetch reads."""


@dataclass(frozen=True)
class Row:
    """What became of a message."""

    change: int = 0
    text_change: int = 0

    def told(self, seq: int, *, with_text: bool) -> MessageChange:
        content = f"text {self.text_change}" if with_text else None
        return MessageChange(seq, content, MessageState(change=self.change))


@dataclass
class Room:
    """A room of the database."""

    head: int = 0
    changes: int = 0
    rows: dict[int, Row] = field(default_factory=dict)

    def change(self, seq: int, *, text: bool) -> None:
        self.changes += 1
        text_change = self.changes if text else self.rows.get(seq, Row()).text_change
        self.rows[seq] = Row(self.changes, text_change)

    def behind(self, after: int, told: int) -> list[MessageChange]:
        found = sorted((row.change, seq) for seq, row in self.rows.items() if row.change > after)
        return [
            self.rows[seq].told(seq, with_text=self.rows[seq].text_change > told)
            for _, seq in found
        ]

    def copy(self) -> Room:
        return replace(self, rows=dict(self.rows))


class Heard:
    """Both halves of the following, and what they announced."""

    def __init__(self) -> None:
        self.messages: dict[str, int] = {}
        self.spans: list[RoomChanges] = []
        self.lost: list[Mapping[str, int]] = []
        self.following = Following(self._announce, self.lost.append)
        self.changes = ChangeFollowing(self.following, self._changed, self.lost.append)

    def _announce(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            self.messages[message.room_id] = message.seq

    def _changed(self, spans: Sequence[RoomChanges]) -> None:
        for span in spans:
            for each in span.messages:
                assert each.seq <= self.messages[span.room_id], "a change before its message"
        self.spans += spans

    def stored(self, heads: Mapping[str, int]) -> None:
        """Announces messages up to the heads of rooms."""
        self.following.hint(heads)
        fetch = self.following.take(9)
        rows = [
            ChatMessage(room_id=room, seq=seq)
            for room, after in fetch.positions.items()
            for seq in range(after + 1, heads[room] + 1)
        ]
        self.following.bring(fetch, rows)
        self.following.finish(fetch, ())


class ChangeFollowingMachine(RuleBasedStateMachine):
    """Interleaves two nodes' changes with answers, hints, fetches and sweeps of one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.database = {room: Room() for room in ROOMS}
        self.heard = Heard()
        self.changes = self.heard.changes
        self.taken = 0
        # Of each followed room: how far it was told, and what a listener makes of it.
        self.told: dict[str, int] = {}
        self.picture: dict[str, dict[int, Row]] = {}
        self.opening: dict[str, MessageStay] = {}
        self.heads: dict[str, Room] = {}
        self.answer: list[RoomChanges] = []
        self.hints: list[tuple[str, int]] = []
        self.read: tuple[ChangeFetch, dict[str, Room]] | None = None
        self.swept: tuple[dict[str, int], dict[str, int]] | None = None
        self.waiting: list[tuple[str, int]] = []
        for room in ROOMS:
            self.database[room].head = 2
            self.begin(room)
            self.read_head(room)
            self.open(room)

    # Rooms.

    @rule(room=rooms)
    def begin(self, room: str) -> None:
        if room not in self.told and room not in self.opening:
            self.opening[room] = self.heard.following.begin(room)
            self.changes.begin(room)

    @rule(room=rooms)
    def read_head(self, room: str) -> None:
        if room in self.opening:
            self.heads[room] = self.database[room].copy()

    @rule(room=rooms)
    def open(self, room: str) -> None:
        if room in self.heads:
            there, stay = self.heads.pop(room), self.opening.pop(room)
            self.heard.messages[room] = self.heard.following.open(room, stay, there.head)
            self.told[room], self.picture[room] = there.changes, there.rows
            self.changes.open(room, there.changes)

    @rule(room=rooms)
    def leave(self, room: str) -> None:
        self.heard.following.leave(room)
        self.changes.leave(room)
        for kept in (self.told, self.picture, self.opening, self.heads):
            kept.pop(room, None)
        self.waiting = [each for each in self.waiting if each[0] != room]

    # What is stored.

    @rule(room=rooms)
    def message(self, room: str) -> None:
        self.database[room].head += 1

    @rule()
    def announce_messages(self) -> None:
        self.heard.stored({room: there.head for room, there in self.database.items()})
        self.take_spans()

    @rule(room=rooms, at=st.lists(st.tuples(some, st.booleans()), min_size=1), hinted=st.booleans())
    def other_changes(self, room: str, at: list[tuple[int, bool]], hinted: bool) -> None:
        there = self.database[room]
        for nth, text in at if there.head else []:
            there.change(nth % there.head + 1, text=text)
        if hinted:
            self.hints.append((room, there.changes))

    @precondition(lambda self: not self.answer)
    @rule(at=st.lists(st.tuples(rooms, some, st.booleans()), min_size=1, max_size=5))
    def commit(self, at: list[tuple[str, int, bool]]) -> None:
        bases = {room: there.changes for room, there in self.database.items()}
        for room, nth, text in at:
            there = self.database[room]
            if there.head:
                there.change(nth % there.head + 1, text=text)
        for room, base in bases.items():
            there = self.database[room]
            if there.changes > base:
                span = RoomChanges(room, base, there.changes, there.behind(base, base))
                self.answer.append(span)

    @precondition(lambda self: self.answer)
    @rule(is_lost=st.booleans())
    def take_answer(self, is_lost: bool) -> None:
        answer, self.answer = self.answer, []
        if not is_lost:
            self.changes.store(answer)
            self.take_spans()

    # What is told.

    @precondition(lambda self: self.hints)
    @rule(nth=some)
    def hint(self, nth: int) -> None:
        self.changes.hint(dict([self.hints[nth % len(self.hints)]]))

    @rule(room=rooms, change=st.integers(0, 50))
    def lie(self, room: str, change: int) -> None:
        self.changes.hint({room: change})

    @precondition(lambda self: self.read is None)
    @rule()
    def begin_fetch(self) -> None:
        fetch = self.changes.take(5)
        self.read = fetch, {room: self.database[room].copy() for room in fetch.positions}

    @precondition(lambda self: self.read is not None)
    @rule(fails=st.booleans())
    def end_fetch(self, fails: bool) -> None:
        assert self.read is not None
        (fetch, there), self.read = self.read, None
        if fails:
            self.changes.retry(fetch)
            return
        behind = {
            room: there[room].behind(after, told) for room, (after, told) in fetch.positions.items()
        }
        self.changes.bring(
            fetch,
            {room: each.changes for room, each in there.items()},
            {room: found[:MOST] for room, found in behind.items()},
            {room for room, found in behind.items() if len(found) >= MOST},
        )
        self.take_spans()

    @precondition(lambda self: self.swept is None)
    @rule()
    def begin_sweep(self) -> None:
        before = self.changes.positions()
        self.swept = before, {room: self.database[room].changes for room in before}

    @precondition(lambda self: self.swept is not None)
    @rule()
    def end_sweep(self) -> None:
        assert self.swept is not None
        swept, self.swept = self.swept, None
        self.changes.sweep(*swept)

    @rule(room=rooms)
    def wait(self, room: str) -> None:
        if room in self.told:
            key = room, self.database[room].changes
            self.waiting.append(key)
            self.changes.reach(*key, lambda: self.waiting.remove(key))

    # Another history.

    @rule()
    def meet_another_server(self) -> None:
        self.changes.forget_heads()
        self.heard.following.forget_heads()

    @precondition(lambda self: not self.opening)
    @rule()
    def renew(self) -> None:
        """The newest changes are lost; what is on its way is of the history of before."""
        self.answer, self.swept = [], None
        self.hints.clear()
        for there in self.database.values():
            there.changes //= 2
            there.rows = {1: Row(there.changes, there.changes)} if there.changes else {}
        self.changes.renew({room: each.changes for room, each in self.database.items()})
        self.heard.following.renew({room: each.head for room, each in self.database.items()})
        for room in self.told:
            there = self.database[room]
            self.heard.messages[room] = there.head
            self.told[room], self.picture[room] = there.changes, there.copy().rows

    # What has to hold.

    def take_spans(self) -> None:
        for span in self.heard.spans[self.taken :]:
            assert span.after_change == self.told[span.room_id]
            self.told[span.room_id] = span.last_change
            numbers = [each.state.change for each in span.messages]
            assert numbers == sorted(numbers)
            assert numbers[-1] == span.last_change
            assert numbers[0] > span.after_change
            for each in span.messages:
                row = self.picture[span.room_id].get(each.seq, Row())
                text = row.text_change if each.content is None else int(each.content[5:])
                self.picture[span.room_id][each.seq] = Row(each.state.change, text)
        self.taken = len(self.heard.spans)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert not self.heard.lost
        assert len(self.heard.spans) == self.taken

    def teardown(self) -> None:
        """A sweep finds whatever nobody told; then all is known."""
        if self.read is not None:
            self.end_fetch(fails=False)
        self.announce_messages()
        for _ in range(3):
            self.swept = None
            self.begin_sweep()
            self.end_sweep()
            while self.changes.is_behind:
                self.begin_fetch()
                self.end_fetch(fails=False)
        self.nothing_is_lost()
        assert not self.waiting
        for room, told in self.told.items():
            there = self.database[room]
            assert told == there.changes
            assert self.picture[room] == there.copy().rows


TestChangeFollowing = ChangeFollowingMachine.TestCase
TestChangeFollowing.settings = settings(MODEL, max_examples=100, stateful_step_count=30)


def following() -> Heard:
    """A room at the head (2, 5)."""
    heard = Heard()
    heard.messages["a"] = heard.following.open("a", heard.following.begin("a"), 2)
    heard.changes.begin("a")
    heard.changes.open("a", 5)
    return heard


def test_numbers_that_went_back_are_lost() -> None:
    heard = following()
    heard.changes.sweep(heard.changes.positions(), {"a": 4})
    assert heard.lost == [{"a": 5}]


def test_what_was_read_before_is_not_lost() -> None:
    """A head that was read before the newest change is no smaller one."""
    heard = following()
    before = heard.changes.positions()
    heard.changes.store([RoomChanges("a", 5, 6, [Row(6).told(1, with_text=False)])])
    heard.changes.sweep(before, {"a": 5})
    assert not heard.lost


def test_fetch_that_finds_less_than_is_known_is_a_loss() -> None:
    for head, found in ((6, [6]), (7, [6]), (7, []), (6, [7])):
        heard = following()
        heard.changes.sweep({"a": 5}, {"a": 7})
        rows = [Row(change).told(1, with_text=False) for change in found]
        heard.changes.bring(heard.changes.take(1), {"a": head}, {"a": rows}, ())
        assert heard.lost == [{"a": 5}], (head, found)
        assert not heard.spans
        assert not heard.changes.is_behind


def test_number_that_another_server_does_not_have_is_no_loss() -> None:
    heard = following()
    heard.changes.sweep({"a": 5}, {"a": 7})
    fetch = heard.changes.take(1)
    heard.changes.forget_heads()
    heard.changes.bring(fetch, {"a": 5}, {}, ())
    assert not heard.lost
