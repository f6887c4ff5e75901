"""Allowances of unauthenticated connections, on a test clock."""

from hypothesis import given
from hypothesis import strategies as st

from hosting.grpc.allowances import (
    BURST,
    BURST_PER_SECOND,
    CALLS_PER_SECOND,
    CONNECTIONS_PER_SECOND,
    FIRST_CALLS,
    FIRST_WORK,
    WORK_PER_SECOND,
    Allowances,
)
from hosting.rate_limits import BURST_SECONDS
from tests.clock import Clock

CALLS = 8.0
MANY = 100_000
# Rounding error of a sum of many floats.
ONE_MORE = 1.001


# Each client's wait, and whether it reconnects first.
STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.2, 3.0]), st.booleans()), max_size=300)


@given(STEPS)
def test_reconnecting_adds_no_allowance(steps: list[tuple[float, bool]]) -> None:
    clock = Clock()
    allowances = Allowances(CALLS, clock)
    connection, connections, calls, work = allowances.of("a"), 1, 0, 0.0
    began = clock.now
    for wait, again in steps:
        clock.now += wait
        if again:
            connection, connections = allowances.of("a"), connections + 1
        for _ in range(20):
            calls += connection.take_call() == 0
            work += 50 * connection.take_work(50)
    passed = clock.now - began
    own = connections * FIRST_CALLS + passed * CALLS_PER_SECOND
    assert calls <= ONE_MORE * (own + CALLS * (BURST_SECONDS + passed))
    own = connections * FIRST_WORK + passed * WORK_PER_SECOND
    assert work <= ONE_MORE * (own + BURST + passed * BURST_PER_SECOND)


def test_address_connections_are_counted() -> None:
    clock = Clock()
    allowances = Allowances(CALLS, clock)
    made = sum(allowances.of("a").take_connection() for _ in range(MANY))
    assert made == CONNECTIONS_PER_SECOND * BURST_SECONDS
    assert allowances.of("b").take_connection()
    clock.now += 1
    assert sum(allowances.of("a").take_connection() for _ in range(MANY)) == CONNECTIONS_PER_SECOND


def test_modest_connection_survives_greedy_neighbour() -> None:
    clock = Clock()
    allowances = Allowances(CALLS, clock)
    greedy, modest = allowances.of("a"), allowances.of("a")
    for _ in range(500):
        while greedy.take_call() == 0:
            pass
        while greedy.take_work(5):
            pass
        assert modest.take_call() == 0
        assert modest.take_work(2)
        clock.now += 0.05


def test_address_has_its_own_allowance() -> None:
    allowances = Allowances(CALLS, Clock())
    greedy, other = allowances.of("a"), allowances.of("b")
    while greedy.take_call() == 0:
        pass
    assert sum(other.take_call() == 0 for _ in range(MANY)) == FIRST_CALLS + CALLS * BURST_SECONDS


def test_refused_call_is_granted_after_its_wait() -> None:
    clock = Clock()
    connection = Allowances(CALLS, clock).of("a")
    while not (wait := connection.take_call()):
        pass
    clock.now += wait
    assert connection.take_call() == 0


def test_authenticated_calls_are_not_counted() -> None:
    connection = Allowances(CALLS, Clock()).of("a")
    for _ in range(MANY):
        assert connection.take_call() == 0
        connection.authenticated()


def test_authenticated_call_frees_no_other() -> None:
    connection = Allowances(CALLS, Clock()).of("a")
    taken = 0
    for _ in range(MANY):
        taken += connection.take_call() == 0  # and is not authenticated
        if connection.take_call() == 0:
            connection.authenticated()
    assert taken < 2000


def test_exempt_connection_has_bounded_work() -> None:
    allowances = Allowances(CALLS, Clock())
    proxy = allowances.of("a")
    proxy.exempt()
    assert all(proxy.take_call() == 0 for _ in range(MANY))
    other = allowances.of("a")
    while other.take_work(5):
        pass
    assert sum(proxy.take_work(1) for _ in range(MANY)) == BURST


def test_address_allowances_can_be_off() -> None:
    """Behind a reverse proxy all connections have one address: each is on its own."""
    allowances = Allowances(0, Clock())
    for _ in range(3):
        connection = allowances.of("a")
        assert all(connection.take_call() == 0 for _ in range(MANY))
        assert all(connection.take_connection() for _ in range(MANY))
        assert sum(connection.take_work(1) for _ in range(MANY)) == BURST
