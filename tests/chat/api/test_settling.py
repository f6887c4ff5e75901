"""Quotas of users over several nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chat.access.identity import Identity
from chat.api.quotas import Quotas
from chat.api.settling import NOTICEABLE, SECONDS, Key, Tab, settle
from chat.storage.base import StoreError, Unanswered, Unstorable
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from hosting.faults import Faults
from hosting.rate_limits import BURST_SECONDS, Bucket, Rates
from tests.chat.in_memory import in_memory

RATE = 8.0
ADA = ("ada", "sends")


class Shared:
    """What `Store.settle` of a shared store does, for one user."""

    def __init__(self) -> None:
        self.full_at = -1e9

    def settle(self, now: float, spent: float) -> float:
        self.full_at = max(self.full_at, now - SECONDS) + spent
        return max(0.0, self.full_at - now)


class Node:
    """A node, with the bucket of one user.

    Attributes:
        granted: how many requests were granted.
    """

    def __init__(self) -> None:
        self.tab = Tab(0.0)
        self.bucket = self.tab.bucket(*ADA, RATE, RATE * BURST_SECONDS)
        self.granted = 0

    def ask(self, now: float, number: int) -> None:
        for _ in range(number):
            self.granted += self.bucket.take(now) == 0

    def settle(self, now: float, shared: Shared) -> None:
        for key, spent in self.tab.take(now).items():
            self.bucket.lack(now, shared.settle(now, spent) + self.tab.of(key))


# Of each tenth of a second: how many requests each node gets.
LOADS = st.lists(
    st.lists(st.sampled_from([0, 0, 1, 2, 100]), min_size=4, max_size=4),
    min_size=1,
    max_size=100,
)


@given(st.integers(1, 4), LOADS, st.integers(1, 20))
@example(4, [[100] * 4], 600)
@example(4, [[2] * 4], 600)
@example(2, [[1, 1, 0, 0]], 600)
def test_rate_holds_over_all_nodes(number: int, load: list[list[int]], times: int) -> None:
    shared, nodes = Shared(), [Node() for _ in range(number)]
    now = 0.0
    for tick, asked in enumerate(load * times):
        now = tick / 10
        for nth, (node, requests) in enumerate(zip(nodes, asked, strict=False)):
            node.ask(now, requests)
            if (tick + 3 * nth) % 10 == 0:
                node.settle(now, shared)
    most = now + number * (BURST_SECONDS + SECONDS + NOTICEABLE) + SECONDS
    assert sum(node.granted for node in nodes) <= most * RATE


@given(LOADS)
def test_user_of_one_node_hardly_notices(load: list[list[int]]) -> None:
    """Settling takes from it at most what it spent before it was told of."""
    shared, node = Shared(), Node()
    plain = Bucket(RATE, RATE * BURST_SECONDS)
    alone = 0
    for tick, (requests, *_) in enumerate(load * 3):
        now = tick / 10
        node.ask(now, requests)
        alone += sum(plain.take(now) == 0 for _ in range(requests))
        if tick % 10 == 0:
            node.settle(now, shared)
    assert alone - RATE * (SECONDS + NOTICEABLE) <= node.granted <= alone


def test_debt_is_paid_back() -> None:
    shared, nodes = Shared(), [Node() for _ in range(3)]
    for node in nodes:
        node.ask(0.0, 1000)
    burst = RATE * BURST_SECONDS
    assert [node.granted for node in nodes] == [burst] * 3
    for _ in range(2):
        for node in nodes:
            node.settle(1.0, shared)
            node.bucket.take(1.0)
            node.tab.add(ADA, NOTICEABLE)  # so that it is told what others told meanwhile
    granted = nodes[0].granted
    nodes[0].ask(2 * BURST_SECONDS - 1.0, 1)
    assert nodes[0].granted == granted
    nodes[0].ask(3 * BURST_SECONDS + 10.0, 1)
    assert nodes[0].granted == granted + 1


# Of each call: what came of it, and after how many tenths of a second.
FAILURES = st.lists(
    st.tuples(st.sampled_from(["told", "failed", "lost"]), st.sampled_from([0, 1, 5, 130])),
    min_size=1,
    max_size=20,
)


@given(LOADS, FAILURES)
@example([[100] * 4] + [[1] * 4] * 9, [("failed", 0)] * 20 + [("told", 0)])
@example([[100] * 4], [("failed", 130)] * 2 + [("told", 0)])
@example([[100] * 4], [("lost", 30)] * 2 + [("told", 0)])
def test_outage_is_not_owed(load: list[list[int]], failures: list[tuple[str, int]]) -> None:
    """A user of one node owes hardly more than its burst, whatever fails.

    What is too little to be told of is kept without being paid back.
    """
    shared, node = Shared(), Node()
    requests = [each for each, *_ in load]
    tick = 0

    def go_on(ticks: int) -> None:
        nonlocal tick
        for _ in range(ticks):
            tick += 1
            node.ask(tick / 10, requests[tick % len(requests)])

    for outcome, ticks in [*failures, ("told", 0), ("told", 0)]:
        go_on(10)
        taken_at = tick / 10
        spent = node.tab.take(taken_at)
        # What is told stands for what was spent a while ago.
        assert spent.get(ADA, 0.0) <= BURST_SECONDS + SECONDS + NOTICEABLE + 1e-6
        owed = shared.settle(taken_at, spent.get(ADA, 0.0)) if outcome != "failed" else 0.0
        if outcome == "told":
            node.bucket.lack(taken_at, owed)
            assert node.bucket.owes(taken_at) <= NOTICEABLE + 1e-6
        else:
            go_on(ticks)
            node.tab.give_back(spent if outcome == "failed" else {}, taken_at)


def test_half_the_rate_through_an_outage() -> None:
    tab, now = Tab(0.0), 0.0
    for _ in range(600):
        now += SECONDS
        tab.add(ADA, SECONDS / 2)
        tab.give_back(tab.take(now), now)
    tab.add(ADA, NOTICEABLE)
    assert tab.take(now + SECONDS) == {ADA: pytest.approx(NOTICEABLE)}


class TestTab:
    """What was spent, and nobody was told."""

    def test_little_is_added_up(self) -> None:
        tab = Tab(0.0)
        tab.add(ADA, NOTICEABLE / 2)
        assert tab.take(1.0) == {}
        tab.add(ADA, NOTICEABLE / 2)
        assert tab.take(2.0) == {ADA: NOTICEABLE}
        assert tab.take(3.0) == {}
        assert len(tab) == 0

    def test_little_is_forgotten(self) -> None:
        tab = Tab(0.0)
        tab.add(ADA, NOTICEABLE / 2)
        for now in (60.0, 120.0):
            assert len(tab) == 1
            tab.take(now)
        assert len(tab) == 0

    def test_what_goes_on_is_not_forgotten(self) -> None:
        tab = Tab(0.0)
        for minute in (1, 2, 3):
            tab.add(ADA, NOTICEABLE / 4)
            assert tab.take(60.0 * minute) == {}
        tab.add(ADA, NOTICEABLE / 4)
        assert tab.take(240.0) == {ADA: NOTICEABLE}

    def test_given_back(self) -> None:
        tab = Tab(0.0)
        bucket = tab.bucket(*ADA, 1.0, 10.0)
        bucket.spend(0.0, 3.0)
        bucket.give_back(2.0)
        assert tab.take(1.0) == {ADA: 1.0}
        bucket.spend(0.0, 3.0)
        bucket.give_back(3.0)
        assert tab.take(1.0) == {}

    def test_what_was_not_told_is_paid_back(self) -> None:
        for seconds in (SECONDS, 5.0, 60.0):
            tab = Tab(0.0)
            tab.add(ADA, 7.0)
            tab.give_back(tab.take(1.0), 1.0)
            assert len(tab) == 1
            taken = tab.take(1.0 + seconds).get(ADA, 0.0)
            assert taken == pytest.approx(max(0.0, 7.0 - seconds))
            assert len(tab) == 0


class SettlingStore(MemoryStore):
    """A store whose other nodes have spent a lot."""

    def __init__(self) -> None:
        super().__init__(Listener())
        self.calls: asyncio.Queue[Mapping[Key, float]] = asyncio.Queue()
        self.failures: list[StoreError] = []

    async def settle(self, spent: Mapping[Key, float]) -> Mapping[Key, float]:
        self.calls.put_nowait(spent)
        if self.failures:
            raise self.failures.pop()
        return dict.fromkeys(spent, 100.0)


@pytest.fixture
def tab() -> Tab:
    return Tab(0.0)


@pytest.fixture
def quotas(tab: Tab) -> Quotas:
    return Quotas(Rates(sends=10.0), tab)


async def test_what_others_spent_is_owed(tab: Tab, quotas: Quotas) -> None:
    store = SettlingStore()
    store.failures = [StoreError("away")]
    task = asyncio.create_task(settle(store, tab, quotas.owe, Faults()))
    sends = quotas.of(Identity("ada"), object()).sends
    for _ in range(95):
        assert sends.take(0.0) == 0
    # The first one fails, and nothing is lost of it but what time has paid back.
    assert await store.calls.get() == {ADA: pytest.approx(9.5)}
    again = await store.calls.get()
    assert 0 < again[ADA] <= 9.5 - SECONDS + 0.001
    await asyncio.sleep(0)
    assert quotas.user("ada").sends.take(asyncio.get_running_loop().time()) > 80
    assert quotas.user("bob").sends.take(0.0) == 0
    task.cancel()
    await asyncio.wait([task])


async def test_what_may_have_been_told_is_not_told_again(tab: Tab, quotas: Quotas) -> None:
    store = SettlingStore()
    store.failures = [Unanswered("the connection was lost")]
    task = asyncio.create_task(settle(store, tab, quotas.owe, Faults()))
    quotas.user("ada").sends.spend(0.0, 20)
    assert await store.calls.get() == {ADA: 2.0}
    quotas.user("bob").sends.spend(0.0, 20)
    assert await store.calls.get() == {("bob", "sends"): pytest.approx(2.0, abs=0.5)}
    task.cancel()
    await asyncio.wait([task])


async def test_what_cannot_be_told_holds_nobody_up(tab: Tab, quotas: Quotas) -> None:
    store = SettlingStore()
    store.failures = [Unstorable("a text has a NUL")]
    task = asyncio.create_task(settle(store, tab, quotas.owe, Faults()))
    for user_id in ("ada", "bob"):
        quotas.user(user_id).sends.spend(0.0, 20)
        assert await store.calls.get() == {(user_id, "sends"): 2.0}
    task.cancel()
    await asyncio.wait([task])


async def test_nothing_is_noted_for_nobody() -> None:
    """Where a store is not shared, there is nobody to be told."""
    quotas = (await in_memory()).quotas
    assert quotas.tab is None
    assert type(quotas.user("ada").sends) is Bucket
