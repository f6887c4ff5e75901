"""Who is in a room, against a plain model; and who types there."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gen.chat import RoomPresence
from proxy.core.attendance import MOST_NAMES, MOST_OF_CLIENT, NAMED, Attendance, Shown
from proxy.core.typists import TypingUsers
from tests.proxy.relay_model import Guest
from tests.support import MODEL

KEEP = 15.0
# Sets of them cross the bound of names.
PEOPLE = [f"user {number}" for number in range(NAMED + 5)]


class Attending(RuleBasedStateMachine):
    """Clients that come and go, a server that is told and tells, and links that are lost."""

    clients = st.integers(0, 3)
    users = st.sampled_from(PEOPLE[:6])

    def __init__(self) -> None:
        super().__init__()
        self.attendance = Attendance()
        self.guests: list[Guest] = [Guest() for _ in range(4)]
        self.now = 0.0
        # The model: who is there for whom, what the server knows, what it has told.
        self.there: dict[int, set[str]] = {}
        self.known: tuple[int, list[str]] = (0, [])
        self.told: set[str] | None = None
        self.lost: set[str] = set()
        self.kept: list[tuple[float, set[str]]] = []
        self.ever = False

    def own(self) -> set[str]:
        return {user for users in self.there.values() for user in users}

    @rule(index=clients, user=users)
    def one_comes(self, index: int, user: str) -> None:
        came = user not in self.own()
        self.there.setdefault(index, set()).add(user)
        assert self.attendance.add(self.guests[index], user) is came

    @rule(index=clients)
    def one_goes(self, index: int) -> None:
        before = self.own()
        self.there.pop(index, None)
        assert self.attendance.discard(self.guests[index]) is (self.own() != before)

    @rule(user=users, number=st.integers(2, 30))
    def clients_of_one_user_come_and_go(self, user: str, number: int) -> None:
        crowd = [Guest() for _ in range(number)]
        came = [self.attendance.add(each, user) for each in crowd]
        assert not any(came[1:])
        went = [self.attendance.discard(each) for each in crowd]
        assert not any(went[:-1])

    @rule()
    def the_server_is_told(self) -> None:
        news = self.attendance.news("lobby")
        if news is not None:
            assert news.room_id == "lobby"
            self.known = (news.count, news.user_ids)
        names = sorted(self.own()) if self.attendance.wanted else []
        assert self.known == (len(self.own()), names)
        assert self.attendance.news("lobby") is None

    @rule(presence=st.booleans())
    def the_server_wants_names(self, presence: bool) -> None:
        self.attendance.want(presence=presence)
        if presence:
            news = self.attendance.news("lobby")
            assert news is not None
            assert news.user_ids == sorted(self.own())
            self.known = (news.count, news.user_ids)

    @rule(names=st.sets(st.sampled_from(PEOPLE)))
    def the_server_tells(self, names: set[str]) -> None:
        named = sorted(names) if len(names) <= NAMED else []
        self.attendance.tell(RoomPresence("lobby", len(names), named))
        self.told, self.ever = names, True

    @rule()
    def the_link_is_lost(self) -> None:
        self.attendance.link_lost()
        self.lost |= self.told or set()
        self.told, self.known = None, (0, [])
        assert not self.attendance.wanted

    @rule()
    def the_room_is_live(self) -> None:
        waits = self.attendance.joined(self.now, KEEP)
        assert waits is bool(self.lost) or not self.lost
        if waits:
            self.kept.append((self.now + KEEP, self.lost))
            self.lost = set()

    @rule(seconds=st.sampled_from([0.5, 5.0, KEEP]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.attendance.let_go(self.now)
        self.kept = [each for each in self.kept if each[0] > self.now]

    @invariant()
    def followers_are_shown_all_of_them(self) -> None:
        shown = self.attendance.shown()
        if not self.ever:
            assert shown is None
            return
        parts = [self.told or set(), self.lost, *(names for _, names in self.kept)]
        if shown is None:
            assert not any(parts)
            return
        everybody = self.own().union(*parts)
        if len(everybody) <= NAMED:
            assert shown == Shown(len(everybody), tuple(sorted(everybody)))
        else:
            # Of several crowds nobody knows how many are in both.
            assert shown.count >= max(map(len, (*parts, self.own())))
            assert shown.count <= len(everybody)
            assert shown.count > NAMED or any(len(each) > NAMED for each in parts)
            assert shown.user_ids == () or shown.count == len(shown.user_ids)
        assert self.attendance.count() <= shown.count

    @invariant()
    def what_is_new_is_shown_once(self) -> None:
        shown = self.attendance.shown()
        changed = self.attendance.changed()
        assert changed in (None, shown)
        assert self.attendance.last == shown or shown is None
        assert self.attendance.changed() is None


def test_attendance_in_any_order() -> None:
    run_state_machine_as_test(
        Attending, settings=settings(MODEL, max_examples=60, stateful_step_count=30)
    )


@pytest.mark.parametrize("length", [10, 1000])
def test_names_for_the_server_are_bounded(length: int) -> None:
    attendance = Attendance()
    for number in range(MOST_NAMES + 100):
        attendance.add(Guest(), f"{number:0{length}}")
    assert attendance.news("lobby") == RoomPresence("lobby", MOST_NAMES + 100)
    attendance.want(presence=True)
    news = attendance.news("lobby")
    assert news is not None
    assert news.count == MOST_NAMES + 100
    assert news.user_ids == [f"{number:0{length}}" for number in range(len(news.user_ids))]
    assert len(news.user_ids) == (MOST_NAMES if length == 10 else 65)


def test_client_is_there_for_so_many_users() -> None:
    attendance, client = Attendance(), Guest()
    for number in range(MOST_OF_CLIENT + 1):
        attendance.add(client, f"user {number}")
    assert attendance.count() == MOST_OF_CLIENT
    assert not attendance.add(client, "user 0")
    attendance.add(Guest(), f"user {MOST_OF_CLIENT}")
    assert attendance.count() == MOST_OF_CLIENT + 1
    assert attendance.discard(client)
    assert attendance.count() == 1


def test_crowd_is_counted_alone() -> None:
    attendance = Attendance()
    for number in range(NAMED + 1):
        attendance.add(Guest(), f"user {number}")
    attendance.tell(RoomPresence("lobby", 2, ["user 1", "eve"]))
    assert attendance.shown() == Shown(NAMED + 1, ())
    attendance.tell(RoomPresence("lobby", 70))
    assert attendance.shown() == Shown(70, ())


def test_odd_id_is_shown_only_if_the_server_tells_it() -> None:
    attendance = Attendance()
    odd = ("a\u200bda", "\u202eada", "x" * 65)
    for user_id in ("ada", *odd):
        attendance.add(Guest(), user_id)
    attendance.tell(RoomPresence("lobby", 2, ["ada", "ben"]))
    assert attendance.shown() == Shown(2, ("ada", "ben"))
    attendance.tell(RoomPresence("lobby", 2, ["ada", odd[0]]))
    assert attendance.shown() == Shown(2, ("ada", odd[0]))


def test_newcomer_who_left_unheard_is_news_to_the_others() -> None:
    """The server may never hear of one who was there for a moment."""
    attendance = Attendance()
    attendance.tell(RoomPresence("lobby", 1, ["ada"]))
    assert attendance.first(alone=True) == attendance.shown()
    assert attendance.changed() is None
    ben = Guest()
    attendance.add(ben, "ben")
    assert attendance.first(alone=False) == Shown(2, ("ada", "ben"))
    attendance.discard(ben)
    assert attendance.changed() == Shown(1, ("ada",))


said = st.lists(
    st.tuples(st.sampled_from(["ada", "ben", "eve"]), st.floats(0, 4)), min_size=1, max_size=8
)


@given(said, st.floats(0, 8))
def test_users_type_for_a_while(steps: list[tuple[str, float]], later: float) -> None:
    typing, now, last = TypingUsers(6.0), 0.0, dict[str, float]()
    began: Counter[str] = Counter()
    for step, (user, pause) in enumerate(steps):
        now += pause
        if user not in last or last[user] + 6.0 <= now:
            began[user] = step
        last[user] = now
        typing.add(user, now)
        assert user in typing.names(now)
    now += later
    expected = [user for user in last if last[user] + 6.0 > now]
    assert typing.names(now) == sorted(expected, key=began.__getitem__)
    assert len(typing) == len(expected)
    ends = [last[user] + 6.0 for user in expected]
    assert typing.end() == (min(ends) if ends else None)
