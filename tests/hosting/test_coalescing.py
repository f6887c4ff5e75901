"""Values that come faster than they may go out."""

from collections import defaultdict
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hosting.coalescing import Coalescer, interval_of
from hosting.faults import Faults
from tests.clock import ClockLoop, run

INTERVALS: Final = {"quick": 2, "slow": 5}
POISON: Final = 5

STEPS: Final = st.lists(st.sampled_from([*INTERVALS, ""]), max_size=40)
"""Keys to which something is added, in order; an empty one lets a second pass."""


class Told:
    """What went out, and when."""

    def __init__(self, loop: ClockLoop) -> None:
        self._loop = loop
        self.flushes: dict[str, list[tuple[float, list[int]]]] = defaultdict(list)
        self.values: Coalescer[str, list[int]] = Coalescer(
            self._tell, lambda earlier, later: earlier + later, INTERVALS.__getitem__, Faults()
        )

    def _tell(self, key: str, value: list[int]) -> None:
        self.flushes[key].append((self._loop.time(), value))
        if POISON in value:
            raise ValueError(key)

    def add(self, key: str, *numbers: int) -> None:
        for number in numbers:
            self.values.add(key, [number])

    def numbers(self, key: str) -> list[int]:
        return [number for _, value in self.flushes[key] for number in value]


@given(STEPS)
def test_all_goes_out_in_time_and_in_order(steps: list[str]) -> None:
    async def test(loop: ClockLoop) -> None:
        told = Told(loop)
        added: dict[str, list[int]] = defaultdict(list)
        for number, key in enumerate(steps, POISON + 1):
            if key:
                told.add(key, number)
                added[key].append(number)
            else:
                await loop.pass_time(1)
            for each, numbers in added.items():
                out = told.numbers(each)
                # The first waits for nothing, and nothing waits longer than an interval.
                assert out
                assert out == numbers[: len(out)]
                last, _ = told.flushes[each][-1]
                assert out == numbers or loop.time() - last < INTERVALS[each]
        await loop.pass_time(max(INTERVALS.values()))
        assert {key: told.numbers(key) for key in added} == added
        for key, flushes in told.flushes.items():
            times = [time for time, _ in flushes]
            assert all(after - before >= INTERVALS[key] for before, after in pairwise(times))

    run(test)


async def test_flush_does_not_wait(loop: ClockLoop) -> None:
    told = Told(loop)
    told.values.flush("slow")
    told.add("slow", 0, 1, 2)
    assert told.values.waiting("slow") == [1, 2]
    await loop.pass_time(1)
    told.values.flush("slow")
    told.values.flush("slow")
    assert told.values.waiting("slow") is None
    told.add("slow", 3)
    await loop.pass_time(4)
    assert told.numbers("slow") == [0, 1, 2]
    await loop.pass_time(1)
    assert told.flushes == {"slow": [(0, [0]), (1, [1, 2]), (6, [3])]}


async def test_what_is_discarded_stays_in(loop: ClockLoop) -> None:
    told = Told(loop)
    told.add("slow", 0, 1, 2)
    told.values.discard("slow")
    told.values.discard("quick")
    told.add("slow", 3, 4)
    told.values.close()
    await loop.pass_time(10)
    assert told.flushes == {"slow": [(0, [0]), (0, [3])]}
    assert not len(told.values)


async def test_failure_is_seen_and_costs_one_value(loop: ClockLoop) -> None:
    told = Told(loop)
    with capture_logs() as lines:
        told.add("quick", POISON, 1, POISON, 2)
        await loop.pass_time(2)
        told.add("quick", 3)
        await loop.pass_time(2)
    # The second is of the same place in the code, and counted.
    assert [line["event"] for line in lines] == ["flush failed"]
    assert told.flushes["quick"] == [(0, [POISON]), (2, [1, POISON, 2]), (4, [3])]


async def test_what_is_told_may_bring_more(loop: ClockLoop) -> None:
    told: list[tuple[float, int]] = []

    def tell(key: str, value: int) -> None:
        told.append((loop.time(), value))
        if value < 3:
            values.add(key, value + 1)

    values: Coalescer[str, int] = Coalescer(tell, max, lambda _: 1, Faults())
    values.add("key", 1)
    for _ in range(4):
        await loop.pass_time(1)
    assert told == [(0, 1), (1, 2), (2, 3)]


@given(receivers=st.integers(0, 100_000))
def test_more_receivers_are_told_less_often(receivers: int) -> None:
    interval = interval_of(receivers, 0.25)
    assert 0.25 <= interval <= interval_of(receivers + 1, 0.25) <= 1
    # Up to a thousand, what all of them are told together is bounded.
    assert receivers > 1000 or receivers / interval <= 1000.1
