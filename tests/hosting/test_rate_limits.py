"""Token buckets, against a plain counting one."""

import math
from dataclasses import fields
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosting.rate_limits import (
    Allowance,
    Bucket,
    BucketTable,
    Joint,
    JointAllowance,
    Rates,
    milliseconds,
)

# Powers of two: no time is rounded, both agree to the last bit.
RATES = st.sampled_from([0.25, 1, 8, 64])
KINDS = [each.name for each in fields(Rates)]
GAPS = st.lists(st.integers(0, 64).map(lambda n: n / 64), max_size=200)


class Oracle:
    """A bucket of countable tokens."""

    def __init__(self, per_second: float, holds: int) -> None:
        self.rate, self.holds = Fraction(per_second), holds
        self.tokens, self.at = Fraction(holds), Fraction(0)

    def take(self, now: float) -> bool:
        at = Fraction(now)
        self.tokens = min(Fraction(self.holds), self.tokens + (at - self.at) * self.rate)
        self.at = at
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def wait(self) -> Fraction:
        return (1 - self.tokens) / self.rate


@given(RATES, st.integers(1, 32), GAPS)
def test_limiter_matches_a_token_bucket(rate: float, holds: int, gaps: list[float]) -> None:
    bucket, oracle, now = Bucket(rate, holds), Oracle(rate, holds), 0.0
    for gap in gaps:
        now += gap
        wait = bucket.take(now)
        assert (wait == 0) == oracle.take(now)
        assert wait == 0 or oracle.wait() <= Fraction(wait) <= Fraction(holds) / Fraction(rate)


@given(
    st.floats(0.01, 1e4), st.integers(1, 1000), st.lists(st.floats(0, 10), max_size=200), st.data()
)
def test_limiter_keeps_burst_and_rate(
    rate: float, holds: int, gaps: list[float], data: st.DataObject
) -> None:
    bucket, now, taken = Bucket(rate, holds), data.draw(st.floats(0, 1e6)), []
    for gap in gaps:
        now += gap
        if bucket.take(now) == 0:
            taken.append(now)
    for first in range(0, len(taken), 7):
        for last in range(first, len(taken), 5):
            span = taken[last] - taken[first]
            assert last - first + 1 <= holds + rate * span + 1e-3


@given(RATES, st.integers(1, 32), st.integers(1, 40))
def test_told_wait_is_sufficient(rate: float, holds: int, refused: int) -> None:
    bucket = Bucket(rate, holds)
    assert [bucket.take(0.0) for _ in range(holds)] == [0] * holds
    waits = [bucket.take(0.0) for _ in range(min(refused, holds))]
    assert waits[0] == 1 / rate
    assert waits == sorted(set(waits)), "each at a time of its own"
    assert [bucket.take(wait) for wait in waits] == [0] * len(waits)


def test_tokens_are_taken_all_or_none() -> None:
    bucket = Bucket(1, 4)
    assert bucket.take(0.0, 3) == 0
    assert bucket.take(0.0, 2) == 1
    assert bucket.take(0.0) == 0


@pytest.mark.parametrize("n", [1, 1000])
def test_no_limit_admits_all(n: int) -> None:
    bucket = Bucket(0, 0)
    assert [bucket.take(0.0, n) for _ in range(1000)] == [0] * 1000
    assert bucket.is_whole(0.0)


def test_slow_rate_admits_one() -> None:
    bucket = Bucket(0.01, 0.1)
    assert bucket.take(0.0) == 0
    assert bucket.take(0.0) == pytest.approx(100)


@given(RATES, st.integers(1, 8), GAPS, st.integers(0, 6400).map(lambda n: n / 64))
def test_full_bucket_equals_a_new_one(
    rate: float, holds: int, gaps: list[float], later: float
) -> None:
    bucket, now = Bucket(rate, holds), 0.0
    for gap in gaps:
        now += gap
        bucket.take(now)
    now += later
    if bucket.is_whole(now):
        fresh = Bucket(rate, holds)
        for _ in range(2 * holds):
            assert bucket.take(now) == fresh.take(now)
    else:
        assert later < 2 * holds / rate + 1


def test_table_forgets_full_buckets_only() -> None:
    now = 0.0
    table: BucketTable[int, Allowance] = BucketTable(lambda: Allowance(Rates(sends=1)), lambda: now)
    for key in range(2000):
        table.of(key).sends.take(now)
    assert len(table) == 2000, "nobody gets a fresh one by the number of others"
    now = 5.0
    table.of(7).joins.take(now)
    while table.of(7).sends.take(now) == 0:
        pass
    now = 10.0
    for key in range(2000, 5000):
        table.of(key)
    assert len(table) < 4000
    assert table.of(7).sends.take(now) == 0
    assert not table.of(7).sends.is_whole(now), "still the one that was used up"


def test_refusals_are_bounded() -> None:
    allowance = Allowance(Rates(sends=1))
    assert sum(allowance.refusals.take(0.0) == 0 for _ in range(5000)) == 1000


@pytest.mark.parametrize("rate", [-1, math.inf, math.nan, 5e-324, 1e-300, 0.9e-9])
@pytest.mark.parametrize("name", KINDS)
def test_rate_is_a_number(name: str, rate: float) -> None:
    with pytest.raises(ValueError, match=f"{name}-per-second"):
        Rates(**{name: rate})


@pytest.mark.parametrize(
    ("seconds", "told"), [(1e-9, 1), (0.0011, 2), (1.0, 1000), (1e9, 2**32 - 1), (1e300, 2**32 - 1)]
)
def test_told_wait_is_rounded_up(seconds: float, told: int) -> None:
    assert milliseconds(seconds) == told


def test_earlier_use_is_owed() -> None:
    bucket = Bucket(2, 10)
    assert bucket.spend(0.0, 10) == 0
    assert bucket.spend(0.0, 4) == bucket.owes(0.0) == 2
    assert bucket.take(1.0) > 0
    assert bucket.owes(1.0) == 1
    assert bucket.owes(2.0) == 0
    assert Bucket(0, 1).spend(0.0, 1e9) == 0


@given(RATES, st.integers(16, 64), GAPS)
def test_modest_user_is_let_through(rate: float, holds: int, gaps: list[float]) -> None:
    """A modest user asks no more often than its own bucket fills."""
    common, now = Bucket(1, 1), 0.0
    calm = Joint(Bucket(rate, holds), common)
    for gap in gaps:
        now += max(gap, 1 / rate)
        common.spend(now, 100)
        assert calm.take(now) == 0


@given(st.integers(1, 4), st.integers(1, 400), st.integers(20, 60))
def test_joint_bucket_bounds_all_together(clients: int, common: int, holds: int) -> None:
    shared = Bucket(1, common)
    joints = [Joint(Bucket(1, holds), shared) for _ in range(clients)]
    taken = [sum(each.take(0.0) == 0 for _ in range(100)) for each in joints]
    assert max(taken) <= holds
    assert sum(taken) <= common + 11 * clients


@pytest.mark.parametrize("name", KINDS)
def test_joint_allowance_combines_both_parts(name: str) -> None:
    rates = Rates(**{name: 1.0})
    common = Allowance(rates, clients=2)
    one = JointAllowance(Allowance(rates), common)
    assert sum(getattr(one, name).take(0.0) == 0 for _ in range(30)) == 10
    assert getattr(common, name).owes(0.0) == 0
    assert getattr(common, name).spend(0.0, 11) == 0.5


def test_joint_allowance_bounds_refusals() -> None:
    one = JointAllowance(Allowance(Rates()), Allowance(Rates(), clients=2))
    assert sum(one.refusals.take(0.0) == 0 for _ in range(5000)) == 1000


@pytest.mark.parametrize("name", [*KINDS, "refusals"])
def test_used_allowance_is_not_whole(name: str) -> None:
    allowance = Allowance(Rates(**dict.fromkeys(KINDS, 1.0)))
    assert allowance.is_whole(0.0)
    getattr(allowance, name).take(0.0)
    assert not allowance.is_whole(0.0)
    assert allowance.is_whole(1.0)
