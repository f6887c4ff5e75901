"""Which server is next: rules that hold after any story of failures."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.choice import LONGEST_REST, Choice, Confinement, Server, Standing

SERVERS = [Server(f"{name}:1", name, 1, name) for name in "abc"]
A, B, C = SERVERS

servers = st.sampled_from(SERVERS)
# What happened to which server, and after how many seconds.
stories = st.lists(
    st.tuples(
        st.sampled_from(["failed", "silent", "lost", "refused", "worked"]),
        servers,
        st.floats(0, 20),
    ),
    max_size=30,
)
seeds = st.integers(0, 2**32)


def drawing(seed: int) -> Choice:
    return Choice(Random(seed))  # noqa: S311 - no secret


def told(story: list[tuple[str, Server, float]], seed: int) -> tuple[Choice, float]:
    """A choice after a story, and the time at its end."""
    choice, now = drawing(seed), 0.0
    for event, server, seconds in story:
        now += seconds
        match event:
            case "failed":
                choice.failed(server, now)
            case "silent":
                choice.failed(server, now, silent=True)
            case "lost":
                choice.lost(server, now)
            case "refused":
                choice.refused(server, now)
            case "worked":
                choice.worked(server)
    return choice, now


@given(stories, seeds)
def test_wait_only_if_all_rest(story: list[tuple[str, Server, float]], seed: int) -> None:
    choice, now = told(story, seed)
    rest = choice.rest(SERVERS, now)
    assert (choice.pick(SERVERS, now) is None) == (rest > 0)
    assert rest <= LONGEST_REST
    assert choice.pick(SERVERS, now + rest + 1e-6) is not None


@given(stories, seeds)
def test_best_standing_is_picked(story: list[tuple[str, Server, float]], seed: int) -> None:
    choice, now = told(story, seed)
    picked = choice.pick(SERVERS, now)
    if picked is not None:
        assert not choice.has_better(SERVERS, picked, now)
        assert choice.rest([picked], now) == 0


@given(stories, seeds, servers)
def test_lost_server_is_not_next(
    story: list[tuple[str, Server, float]], seed: int, lost: Server
) -> None:
    """Not if another one is good."""
    choice, now = told(story, seed)
    choice.lost(lost, now)
    others = [each for each in SERVERS if each != lost]
    awake = [each for each in others if choice.rest([each], now) == 0]
    if any(choice.standing(each, now) is Standing.GOOD for each in awake):
        assert choice.pick(SERVERS, now) in awake


@given(stories, seeds, servers)
def test_server_that_worked_is_as_good_as_new(
    story: list[tuple[str, Server, float]], seed: int, server: Server
) -> None:
    choice, now = told(story, seed)
    choice.worked(server)
    assert choice.standing(server, now) is Standing.GOOD
    assert choice.rest([server], now) == 0
    assert choice.failed(server, now) == 1


@given(stories, seeds)
def test_only_silence_is_remembered_for_long(
    story: list[tuple[str, Server, float]], seed: int
) -> None:
    choice, now = told(story, seed)
    for server in SERVERS:
        before = choice.standing(server, now)
        expected = Standing.SILENT if before is Standing.SILENT else Standing.GOOD
        assert choice.standing(server, now + 10.0) is expected


@given(stories, seeds)
def test_every_good_server_is_drawn(story: list[tuple[str, Server, float]], seed: int) -> None:
    choice, now = told(story, seed)
    for server in SERVERS:
        choice.worked(server)
    assert {choice.pick(SERVERS, now) for _ in range(200)} == set(SERVERS)
    assert {choice.beside(SERVERS, A, now, leaving=False) for _ in range(200)} == {None, B, C}
    assert {choice.beside(SERVERS, A, now, leaving=True) for _ in range(200)} == {B, C}


@given(stories, seeds, servers, st.booleans())
def test_move_leads_elsewhere(
    story: list[tuple[str, Server, float]], seed: int, current: Server, leaving: bool
) -> None:
    choice, now = told(story, seed)
    found = choice.beside(SERVERS, current, now, leaving=leaving)
    if found is not None:
        assert found != current
        assert choice.rest([found], now) == 0
        assert not (leaving and choice.standing(found, now) is Standing.REFUSING)


@given(seeds)
def test_rests_grow_up_to_a_bound(seed: int) -> None:
    choice, most = drawing(seed), 0.05
    for number in range(1, 2000):
        assert choice.failed(A, 0.0) == number
        assert 0 <= choice.rest([A], 0.0) <= min(most, LONGEST_REST)
        most = min(most * 2, LONGEST_REST)


def test_longest_trouble_ago_is_next() -> None:
    choice = drawing(1)
    for now, server in enumerate((B, C, A, C)):
        choice.lost(server, float(now), silent=True)
    assert [choice.pick(servers, 4.0) for servers in ([A, B, C], [A, C], [C])] == [B, A, C]
    # Silence is worse than any other trouble.
    choice.lost(C, 5.0)
    assert choice.pick(SERVERS, 6.0) == C


def test_single_server_is_tried_again_at_once_after_it_lived() -> None:
    choice = drawing(1)
    choice.lost(A, 5.0)
    assert choice.pick([A], 5.0) == A
    assert choice.beside([A], A, 5.0, leaving=True) is None
    assert choice.beside([A], A, 5.0, leaving=False) is None


def test_refusing_server_is_kept_if_none_serves() -> None:
    choice = drawing(1)
    choice.refused(A, 0.0)
    assert choice.has_better(SERVERS, A, 0.0)
    choice.refused(B, 0.0)
    choice.failed(C, 0.0)
    rested = choice.rest([C], 0.0) / 2
    assert not choice.has_better(SERVERS, A, rested)
    # A silent one is no better than one that says that it does not serve.
    choice.failed(C, 0.0, silent=True)
    assert not choice.has_better(SERVERS, A, 5.0)


@given(stories, seeds)
def test_servers_that_are_gone_are_forgotten(
    story: list[tuple[str, Server, float]], seed: int
) -> None:
    choice, now = told(story, seed)
    known = [choice.standing(each, now) for each in SERVERS]
    choice.forget_all_but([A, B])
    assert [choice.standing(each, now) for each in SERVERS] == [*known[:2], Standing.GOOD]


@given(st.floats(0.1, 10_000), seeds)
def test_recycling_is_spread_around_its_average(seconds: float, seed: int) -> None:
    choice = drawing(seed)
    drawn = [choice.recycle_after(seconds) for _ in range(100)]
    assert all(seconds * 0.5 <= each <= seconds * 1.5 for each in drawn)
    assert sum(drawn) / len(drawn) == pytest.approx(seconds, rel=0.25)


# Commands that may be deadly.


def test_first_death_confines_nobody() -> None:
    for suspected in (False, True):
        confinement = Confinement()
        confinement.died(A, 0.0, suspected=suspected)
        assert confinement.allowed(SERVERS, 0.0) == SERVERS
        assert confinement.rest(0.0) == 0


def test_suspected_commands_stay_with_servers_that_died() -> None:
    confinement = Confinement()
    confinement.died(A, 0.0, suspected=False)
    confinement.died(B, 1.0, suspected=True)
    assert confinement.allowed(SERVERS, 1.0) == [A, B]
    confinement.died(A, 3.0, suspected=True)
    assert confinement.allowed(SERVERS, 6.9) == [A, B]
    # If none of them comes back, another one has to do.
    assert confinement.allowed(SERVERS, 3.0 + confinement.rest(3.0)) == SERVERS
    # Nor does a server count that there is no more.
    assert confinement.allowed([C], 6.0) == [C]


def test_link_that_lived_ends_confinement() -> None:
    confinement = Confinement()
    confinement.died(A, 0.0, suspected=True)
    confinement.died(B, 0.0, suspected=True)
    assert confinement.allowed(SERVERS, 0.0) == [A, B]
    confinement.clear()
    assert confinement.allowed(SERVERS, 0.0) == SERVERS
    confinement.died(B, 0.0, suspected=True)
    confinement.died(C, 0.0, suspected=True)
    assert confinement.allowed(SERVERS, 0.0) == [B, C]


@given(st.lists(st.tuples(servers, st.floats(0, 3)), max_size=20), st.integers(0, 4))
def test_death_confines_to_servers_that_died(
    deaths: list[tuple[Server, float]], innocent: int
) -> None:
    confinement, now = Confinement(), 0.0
    for number, (server, seconds) in enumerate(deaths):
        now += seconds
        confinement.died(server, now, suspected=number >= innocent)
    allowed = confinement.allowed(SERVERS, now)
    victims = {server for server, _ in deaths}
    if len(deaths) > innocent and len(victims) > 1:
        assert set(allowed) == victims
    else:
        assert allowed == SERVERS
