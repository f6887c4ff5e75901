"""What is announced of followed rooms: a model of a database, and events in any order."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chat.storage.base import key_of
from chat.storage.postgres.following import Following
from chat.storage.postgres.stays import Fetch, InFlight, MessageStay, Sweep
from gen.chat import ChatMessage
from tests.support import MODEL, message, seqs

ROOMS = ["a", "b", "c"]
rooms = st.sampled_from(ROOMS)
# Few keys, and few contents: repeats, and repeats with another content.
sends = st.builds(
    message, room_id=rooms, content=st.sampled_from("xy"), key=st.sampled_from("123456789")
)
any_one = st.integers(0, 1000)


class Heard:
    """A `Following`, and what it announced and missed.

    Args:
        heads: of rooms that are followed.
    """

    def __init__(self, **heads: int) -> None:
        self.announced: list[ChatMessage] = []
        self.calls = 0
        self.lost: list[dict[str, int]] = []
        self.following = Following(self._announce, lambda rooms: self.lost.append(dict(rooms)))
        for room_id, head in heads.items():
            self.follow(room_id, head)

    def _announce(self, messages: Sequence[ChatMessage]) -> None:
        self.announced += messages
        self.calls += 1

    def follow(self, room_id: str, head: int = 0) -> int:
        return self.following.open(room_id, self.following.begin(room_id), head)

    def fetch(self, *rows: ChatMessage, cut: Sequence[str] = ()) -> Mapping[str, int]:
        """Fetches what is behind; returns what was announced before of each room."""
        fetch = self.following.take(10)
        self.following.bring(fetch, rows)
        self.following.finish(fetch, cut)
        return fetch.positions


class Database:
    """The table: what was committed, in order."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[ChatMessage]] = {room: [] for room in ROOMS}
        self.keys: dict[tuple[str, str, str], ChatMessage] = {}

    def insert(self, sent: ChatMessage) -> ChatMessage | None:
        """Stores a copy and returns it; `None` for a repeat."""
        if key_of(sent) in self.keys:
            return None
        room = self.rooms[sent.room_id]
        row = copy(sent, len(room) + 1)
        room.append(row)
        self.keys[key_of(sent)] = row
        return row

    def behind(self, room_id: str, position: int) -> list[ChatMessage]:
        """Copies of rows, as a query makes them."""
        return [copy(row, row.seq) for row in self.rooms[room_id][position:]]


def copy(row: ChatMessage, seq: int) -> ChatMessage:
    return ChatMessage(
        id=row.id, room_id=row.room_id, sender_id=row.sender_id, content=row.content, seq=seq
    )


class Answer(NamedTuple):
    """Of an append: what others stored, its own rows by the object that was sent."""

    others: list[ChatMessage]
    own: list[tuple[ChatMessage, int]]


class FollowingMachine(RuleBasedStateMachine):
    """Interleaves two nodes' commits with answers, hints, fetches and sweeps of one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.heard = Heard()
        self.following = self.heard.following
        # Of each room that is followed: from where on, and what was announced before.
        self.since: dict[str, tuple[int, int]] = {}
        self.opening: dict[str, tuple[MessageStay, int | None]] = {}
        self.flight: InFlight | None = None
        self.answer: Answer | None = None
        self.hints: list[tuple[str, int]] = []
        self.fetch: tuple[Fetch, list[ChatMessage], list[str]] | None = None
        self.sweep: tuple[Sweep, dict[str, int]] | None = None
        self.unconfirmed: set[int] = set()
        self.renewed = 0
        self.ids = itertools.count()
        for room in ROOMS[:2]:
            self.begin(room)
            self.read_head(room)
            self.open(room)

    def heard_of(self, room_id: str) -> list[ChatMessage]:
        return [each for each in self.heard.announced if each.room_id == room_id]

    # Rooms.

    @rule(room=rooms)
    def begin(self, room: str) -> None:
        if room not in self.since and room not in self.opening:
            self.opening[room] = self.following.begin(room), None

    @rule(room=rooms)
    def read_head(self, room: str) -> None:
        if room in self.opening:
            self.opening[room] = self.opening[room][0], len(self.database.rooms[room])

    @rule(room=rooms)
    def open(self, room: str) -> None:
        stay, head = self.opening.get(room, (None, None))
        if stay is not None and head is not None:
            del self.opening[room]
            position = self.following.open(room, stay, head)
            assert position >= head
            self.since[room] = position, len(self.heard_of(room))

    @rule(room=rooms)
    def leave(self, room: str) -> None:
        self.since.pop(room, None)
        self.following.leave(room)
        self.opening.pop(room, None)

    # Commits.

    @rule(sent=st.lists(sends, min_size=1, max_size=3), hinted=st.booleans())
    def other_node_stores(self, sent: list[ChatMessage], hinted: bool) -> None:
        stored = [row for each in sent if (row := self.database.insert(each))]
        if hinted:
            self.hints += [(row.room_id, row.seq) for row in stored]

    @precondition(lambda self: self.flight is None)
    @rule(sent=st.lists(sends, min_size=1, max_size=4))
    def send(self, sent: list[ChatMessage]) -> None:
        self.flight = self.following.send(sent)

    @precondition(lambda self: self.flight is not None and self.answer is None)
    @rule(cut=st.booleans(), answered=st.booleans())
    def commit(self, cut: bool, answered: bool) -> None:
        flight = self.flight
        assert flight is not None
        others: list[ChatMessage] = []
        for room_id, position in flight.positions.items():
            others += [] if cut else self.database.behind(room_id, position)
        own = [(each, row.seq) for each in flight.messages if (row := self.database.insert(each))]
        if answered:
            self.answer = Answer(others, own)
        else:
            self.following.again(flight)

    @precondition(lambda self: self.answer is not None)
    @rule()
    def take_answer(self) -> None:
        flight, answer = self.flight, self.answer
        assert flight is not None
        assert answer is not None
        self.flight = self.answer = None
        if flight.generation != self.following.generation:
            self.take_old_answer(flight, answer)
            return
        for each, seq in answer.own:
            # Found by a fetch before: taken for the same object.
            assert not flight.is_announced(each) or each.seq == seq
            each.seq = seq
        own = [each for each, _ in answer.own]
        self.following.store(flight, answer.others, own)
        token = next(self.ids)
        self.unconfirmed.add(token)
        self.following.when_announced(own, lambda: self.confirm(token, own))
        self.objects_are_kept(flight, own)

    def take_old_answer(self, flight: InFlight, answer: Answer) -> None:
        """It tells of a history that is another one now."""
        before = len(self.heard.announced)
        self.following.store(flight, answer.others, [copy(*each) for each in answer.own])
        assert len(self.heard.announced) == before

    def confirm(self, token: int, own: Sequence[ChatMessage]) -> None:
        assert token in self.unconfirmed
        self.unconfirmed.discard(token)
        for each in own:
            since, _ = self.since.get(each.room_id, (each.seq, 0))
            assert each.seq <= since or any(each is heard for heard in self.heard.announced)

    def objects_are_kept(self, flight: InFlight, own: Sequence[ChatMessage]) -> None:
        """What is answered as stored is the object that is announced, or will be."""
        for each in flight.messages:
            is_own = any(each is mine for mine in own)
            copies = [
                heard
                for heard in self.heard.announced[self.renewed :]
                if key_of(heard) == key_of(each) and heard is not each
            ]
            if is_own or flight.is_announced(each):
                assert not copies

    @precondition(lambda self: self.flight is not None)
    @rule()
    def give_up(self) -> None:
        assert self.flight is not None
        self.following.drop(self.flight)
        self.flight = self.answer = None

    # What tells of the commits of others.

    @precondition(lambda self: self.hints)
    @rule(which=any_one)
    def hint(self, which: int) -> None:
        room_id, head = self.hints.pop(which % len(self.hints))
        self.following.hint({room_id: head})

    @rule(room=rooms, head=st.integers(0, 50))
    def hint_wrongly(self, room: str, head: int) -> None:
        self.following.hint({room: head})

    @rule()
    def ask(self) -> None:
        sweep = self.following.ask()
        self.sweep = sweep, {room: len(self.database.rooms[room]) for room in sweep.positions}

    @rule()
    def take_sweep(self) -> None:
        if self.sweep:
            self.following.sweep(*self.sweep)
            self.sweep = None

    @precondition(lambda self: self.fetch is None)
    @rule(most=st.integers(1, 3), rows=st.integers(1, 4), leave_flying=st.booleans())
    def begin_fetch(self, most: int, rows: int, *, leave_flying: bool) -> None:
        fetch = self.following.take(most, leave_flying=leave_flying)
        found: list[ChatMessage] = []
        cut = []
        for room_id, position in fetch.positions.items():
            behind = self.database.behind(room_id, position)
            found += behind[:rows]
            if len(behind) > rows:
                cut.append(room_id)
        self.fetch = fetch, found, cut

    @precondition(lambda self: self.fetch is not None)
    @rule(rows=st.integers(1, 4))
    def bring(self, rows: int) -> None:
        assert self.fetch is not None
        fetch, found, cut = self.fetch
        self.following.bring(fetch, found[:rows])
        self.fetch = fetch, found[rows:], cut

    @precondition(lambda self: self.fetch is not None)
    @rule()
    def finish(self) -> None:
        assert self.fetch is not None
        fetch, found, cut = self.fetch
        self.fetch = None
        self.following.bring(fetch, found)
        self.following.finish(fetch, cut)

    @precondition(lambda self: self.fetch is not None)
    @rule()
    def fail_to_fetch(self) -> None:
        assert self.fetch is not None
        self.following.retry(self.fetch[0])
        self.fetch = None

    @rule()
    def meet_another_server(self) -> None:
        """It has the same rows; what was read of heads is forgotten."""
        self.following.forget_heads()

    @rule(kept=st.integers(0, 3), epoch=st.booleans())
    def renew(self, kept: int, epoch: bool) -> None:
        """The history ends earlier, for all rooms alike; rarely."""
        if not epoch or kept:
            return
        for room_id, rows in self.database.rooms.items():
            for row in rows[len(rows) // 2 :]:
                del self.database.keys[key_of(row)]
            del rows[len(rows) // 2 :]
            assert room_id in ROOMS
        heads = {room: len(self.database.rooms[room]) for room in self.following.missing({})}
        self.since.clear()
        self.renewed = len(self.heard.announced)
        self.following.renew(heads)
        # Whoever waits for a head is told that of the new history.
        self.opening.clear()
        self.since = {room: (head, len(self.heard_of(room))) for room, head in heads.items()}
        if self.flight is not None and self.answer is None:
            self.following.again(self.flight)

    # Invariants.

    @invariant()
    def in_order_without_gaps(self) -> None:
        for room_id, (since, before) in self.since.items():
            heard = self.heard_of(room_id)[before:]
            assert seqs(heard) == list(range(since + 1, since + 1 + len(heard)))
            rows = self.database.rooms[room_id][since:]
            assert [(each.id, each.content) for each in heard] == [
                (row.id, row.content) for row in rows[: len(heard)]
            ]

    @invariant()
    def nothing_is_lost(self) -> None:
        assert not self.heard.lost

    def teardown(self) -> None:
        """All is announced in the end, though no hint tells of it."""
        if self.answer:
            self.take_answer()
        if self.fetch:
            self.finish()
        self.ask()
        self.take_sweep()
        for _ in range(100):
            if not self.following.is_behind:
                break
            self.begin_fetch(2, 2, leave_flying=False)
            self.finish()
        assert not self.following.is_behind
        self.in_order_without_gaps()
        self.nothing_is_lost()
        assert not self.unconfirmed
        for room_id, (since, before) in self.since.items():
            assert len(self.heard_of(room_id)) - before == len(self.database.rooms[room_id]) - since


def test_events_in_any_order() -> None:
    run_state_machine_as_test(
        FollowingMachine, settings=settings(MODEL, max_examples=150, stateful_step_count=40)
    )


def row(seq: int, room_id: str = "a", content: str = "x", key: str = "") -> ChatMessage:
    return copy(message(room_id, content, key=key or str(seq)), seq)


def test_rooms_that_are_not_followed_cost_nothing() -> None:
    heard = Heard()
    heard.following.hint({"a": 5})
    flight = heard.following.send([message("a")])
    assert flight.positions == {}
    heard.following.store(flight, [], [row(1)])
    assert not heard.announced
    assert not heard.following.is_behind
    assert heard.following.ask().positions == {}


def test_rows_read_before_the_answer_are_the_objects_in_flight() -> None:
    heard = Heard(a=0)
    mine = message("a", "mine", key="1")
    flight = heard.following.send([mine])
    heard.following.hint({"a": 1})
    heard.fetch(row(1, content="mine"))
    assert heard.announced[0] is mine
    assert mine.seq == 1
    assert flight.is_announced(mine)
    heard.following.store(flight, [], [mine])
    assert len(heard.announced) == 1


def test_a_room_in_flight_is_left_to_its_append_once() -> None:
    heard = Heard(a=0, b=0)
    flight = heard.following.send([message("a", "mine", key="1")])
    heard.following.hint({"a": 1, "b": 1})
    fetch = heard.following.take(10, leave_flying=True)
    assert fetch.positions == {"b": 0}
    heard.following.finish(fetch, ())
    assert heard.following.is_behind
    # The append takes long: nobody waits for it any longer.
    fetch = heard.following.take(10, leave_flying=True)
    assert fetch.positions == {"a": 0}
    heard.following.finish(fetch, ())

    heard.following.drop(flight)
    flight = heard.following.send([message("a", "mine", key="2")])
    heard.following.hint({"a": 3})
    assert not heard.following.take(10, leave_flying=True).positions
    mine = row(2)
    heard.following.store(flight, [row(1)], [mine])
    assert seqs(heard.announced) == [1, 2]
    assert heard.following.take(10, leave_flying=True).positions == {"a": 2}


def test_a_row_with_another_content_is_announced_as_what_it_is() -> None:
    heard = Heard(a=0)
    mine = message("a", "mine", key="1")
    flight = heard.following.send([mine])
    heard.following.hint({"a": 1})
    heard.fetch(row(1, content="another's"))
    assert [each.content for each in heard.announced] == ["another's"]
    assert not flight.is_announced(mine)


def test_one_commit_is_one_announcement() -> None:
    heard = Heard(a=0)
    flight = heard.following.send([message("a"), message("a")])
    heard.following.store(flight, [row(1), row(2)], [row(3), row(4)])
    assert seqs(heard.announced) == [1, 2, 3, 4]
    assert heard.calls == 1


def test_an_own_message_above_a_gap_waits_until_the_gap_is_fetched() -> None:
    heard = Heard()
    flight = heard.following.send([message("a")])
    heard.follow("a", 3)
    mine = row(6)
    heard.following.store(flight, [], [mine])
    confirmed: list[bool] = []
    heard.following.when_announced([mine], lambda: confirmed.append(True))
    assert not heard.announced
    assert not confirmed
    assert heard.fetch(row(4), row(5)) == {"a": 3}
    assert seqs(heard.announced) == [4, 5, 6]
    assert heard.announced[-1] is mine
    assert confirmed


def test_waiting_ends_with_the_stay() -> None:
    ends: list[Callable[[Following], None]] = [
        lambda following: following.leave("a"),
        lambda following: following.renew({"a": 2}),
    ]
    for end in ends:
        heard = Heard()
        flight = heard.following.send([message("a")])
        heard.follow("a", 3)
        mine = row(6)
        heard.following.store(flight, [], [mine])
        confirmed: list[bool] = []
        heard.following.when_announced([mine], partial(confirmed.append, True))
        end(heard.following)
        assert confirmed


def test_what_a_wrong_hint_tells_is_looked_for_once() -> None:
    heard = Heard(a=3)
    heard.following.hint({"a": 1000})
    heard.fetch()
    assert not heard.following.is_behind
    assert not heard.lost


def test_found_by_a_sweep_alone() -> None:
    heard = Heard(a=3)
    heard.following.hint({"a": 4})
    heard.following.sweep(heard.following.ask(), {"a": 6})
    heard.fetch(row(4), row(5), row(6))
    assert heard.following.found == 2


def lost_by(events: Callable[[Heard], None]) -> Mapping[str, int]:
    heard = Heard(a=3)
    events(heard)
    assert not heard.announced
    [lost] = heard.lost
    assert not heard.following.is_behind
    return lost


def test_a_hole_is_lost_history() -> None:
    def events(heard: Heard) -> None:
        heard.following.hint({"a": 5})
        heard.fetch(row(5))
        heard.fetch()

    assert lost_by(events) == {"a": 3}


def test_a_hole_in_a_page_that_goes_on_is_lost_history() -> None:
    def events(heard: Heard) -> None:
        heard.following.hint({"a": 50})
        for _ in range(2):
            heard.fetch(row(5), row(6), cut=["a"])

    assert lost_by(events) == {"a": 3}


def test_a_head_without_its_rows_is_lost_history() -> None:
    def events(heard: Heard) -> None:
        heard.following.sweep(heard.following.ask(), {"a": 7})
        heard.fetch()

    assert lost_by(events) == {"a": 3}


def test_a_head_that_another_server_does_not_have_is_no_loss() -> None:
    """It was read in the last moment of a server, and no row behind it was."""
    for taken_before in (True, False):
        heard = Heard(a=3)
        heard.following.sweep(heard.following.ask(), {"a": 7})
        if taken_before:
            fetch = heard.following.take(10)
            heard.following.forget_heads()
        else:
            heard.following.forget_heads()
            fetch = heard.following.take(10)
        heard.following.finish(fetch, ())
        assert not heard.lost
        assert heard.following.positions(["a"]) == {"a": 3}


def test_rows_behind_a_gap_are_missed_on_another_server() -> None:
    def events(heard: Heard) -> None:
        heard.following.store(heard.following.send([message("a")]), [], [row(5)])
        heard.following.forget_heads()
        heard.fetch()

    assert lost_by(events) == {"a": 3}


def test_a_head_below_what_was_announced_is_lost_history() -> None:
    def events(heard: Heard) -> None:
        heard.following.sweep(heard.following.ask(), {"a": 2})

    assert lost_by(events) == {"a": 3}


def test_a_head_read_before_the_last_announcement_is_no_loss() -> None:
    heard = Heard(a=3)
    sweep = heard.following.ask()
    flight = heard.following.send([message("a")])
    heard.following.store(flight, [], [row(4)])
    heard.following.sweep(sweep, {"a": 3})
    assert not heard.lost


def test_rooms_are_fetched_in_turn() -> None:
    heard = Heard()
    for room_id in ROOMS:
        heard.follow(room_id)
        heard.following.hint({room_id: 10})
    taken = []
    for seq in range(1, 4):
        fetch = heard.following.take(2)
        taken.append(sorted(fetch.positions))
        heard.following.bring(fetch, [row(seq, room) for room in fetch.positions])
        heard.following.finish(fetch, list(fetch.positions))
    assert taken == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_marks_name_what_was_announced_last() -> None:
    heard = Heard(a=3, b=7)
    heard.following.begin("c")
    flight = heard.following.send([message("a")])
    heard.following.store(flight, [], [row(4, key="last")])
    assert heard.following.marks() == [("a", 4, "ada", "last"), ("b", 7, "", "")]


def test_rooms_followed_while_heads_of_another_history_are_read() -> None:
    heard = Heard(a=3)
    heads = dict.fromkeys(heard.following.missing({}), 1)
    heard.follow("b", 5)
    assert heard.following.missing(heads) == ["b"]


def test_own_messages_stored_while_the_head_is_read_are_part_of_the_past() -> None:
    heard = Heard()
    stay = heard.following.begin("a")
    flight = heard.following.send([message("a")])
    heard.following.store(flight, [], [row(4)])
    assert heard.following.open("a", stay, 3) == 4
    assert not heard.announced


def test_what_was_asked_of_another_history_brings_nothing() -> None:
    heard = Heard(a=3)
    flight = heard.following.send([message("a")])
    sweep = heard.following.ask()
    heard.following.hint({"a": 4})
    fetch = heard.following.take(10)
    heard.following.renew({"a": 2})
    heard.following.bring(fetch, [row(3)])
    heard.following.finish(fetch, ["a"])
    heard.following.sweep(sweep, {"a": 9})
    assert not heard.following.is_behind
    heard.following.store(flight, [], [row(3)])
    # Of which history that is, is not known: it is looked for, and need not be there.
    assert heard.fetch() == {"a": 2}
    assert not heard.announced
    assert not heard.following.is_behind
    assert not heard.lost


def test_the_first_of_two_with_one_id_is_the_one_in_flight() -> None:
    heard = Heard(a=0)
    twins = [message("a", key="1"), message("a", key="1")]
    flight = heard.following.send(twins)
    heard.following.hint({"a": 1})
    heard.following.bring(heard.following.take(10), [row(1, content="hello")])
    assert heard.announced[0] is twins[0]
    assert [flight.is_announced(each) for each in twins] == [True, False]


def test_a_hint_that_comes_while_rows_are_fetched_counts() -> None:
    heard = Heard(a=3)
    heard.following.hint({"a": 4})
    fetch = heard.following.take(10)
    heard.following.hint({"a": 5})
    heard.following.bring(fetch, [row(4)])
    heard.following.finish(fetch, ())
    assert heard.following.take(10).positions == {"a": 4}


def test_a_room_that_was_left_is_not_fetched() -> None:
    heard = Heard(a=3)
    heard.following.hint({"a": 4})
    heard.following.leave("a")
    assert heard.following.take(10).positions == {}


def test_waiting_until_a_room_was_announced_as_far_as_its_head() -> None:
    heard = Heard(a=3)
    reached: list[int] = []
    for head in (3, 4, 5):
        heard.following.reach("a", head, partial(reached.append, head))
    assert reached == [3]
    assert heard.fetch(row(4), cut=["a"]) == {"a": 3}
    assert reached == [3, 4]
    heard.following.leave("a")
    assert reached == [3, 4, 5]


def test_a_room_whose_rows_did_not_fit_is_fetched_next() -> None:
    heard = Heard(a=3)
    heard.following.sweep(heard.following.ask(), {"a": 4})
    heard.fetch(cut=["a"])
    assert not heard.lost
    assert heard.following.take(10).positions == {"a": 3}
