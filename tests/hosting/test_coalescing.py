"""Values that come faster than they may go out."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hosting.coalescing import Coalescer, Timer
from hosting.faults import Faults
from tests.support import PATIENCE_SECONDS

INTERVALS: Final = {"quick": 2, "slow": 5}


class Call:
    """A call that is to come; `cancel` makes it one of nothing."""

    def __init__(self, at: int, call: Callable[[], None]) -> None:
        self.at = at
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Clock:
    """An event loop's timers, by hand."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[Call] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.calls.append(Call(self.now + int(seconds), call))
        return self.calls[-1]

    @property
    def pending(self) -> list[Call]:
        return [each for each in self.calls if each.call is not None]

    def advance(self) -> None:
        self.now += 1
        for each in self.pending:
            if each.at == self.now and each.call is not None:
                call, each.call = each.call, None
                call()


class Told:
    """What went out, and when."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.flushes: dict[str, list[tuple[int, list[int]]]] = defaultdict(list)
        self.values: Coalescer[str, list[int]] = Coalescer(
            lambda key, value: self.flushes[key].append((self.clock.now, value)),
            lambda earlier, later: earlier + later,
            lambda key: INTERVALS[key],
            Faults(),
            self.clock.call_later,
        )


STEPS: Final = st.lists(st.sampled_from([*INTERVALS, ""]), max_size=40)
"""Keys to which something is added, in order; an empty one lets time pass."""


@given(STEPS)
def test_all_goes_out_in_time_and_in_order(steps: list[str]) -> None:
    told = Told()
    added: dict[str, list[int]] = defaultdict(list)
    for number, key in enumerate(steps):
        if key:
            told.values.add(key, [number])
            added[key].append(number)
        else:
            told.clock.advance()
        for each, numbers in added.items():
            out = [nth for _, value in told.flushes[each] for nth in value]
            assert out == numbers[: len(out)]
            # The first waits for nothing, and nothing waits longer than an interval.
            assert out
            waits_since = told.flushes[each][-1][0]
            assert out == numbers or told.clock.now - waits_since < INTERVALS[each]
    for _ in range(2 * max(INTERVALS.values())):
        told.clock.advance()
    assert not told.clock.pending
    assert not len(told.values)
    for key, flushes in told.flushes.items():
        assert [nth for _, value in flushes for nth in value] == added[key]
        times = [time for time, _ in flushes]
        apart = [after - before for before, after in pairwise(times)]
        assert all(seconds >= INTERVALS[key] for seconds in apart)


def test_what_is_discarded_stays_in() -> None:
    told = Told()
    for number in range(3):
        told.values.add("slow", [number])
    told.values.discard("slow")
    told.values.discard("quick")
    assert not told.clock.pending
    told.values.add("slow", [3])
    told.values.add("slow", [4])
    told.values.close()
    assert not told.clock.pending
    assert told.flushes == {"slow": [(0, [0]), (0, [3])]}


def test_failure_is_seen_and_costs_one_value() -> None:
    clock = Clock()
    told: list[int] = []

    def flush(key: str, value: int) -> None:
        told.append(value)
        if value in (1, 5):
            raise ValueError(key)

    values: Coalescer[str, int] = Coalescer(
        flush, int.__add__, lambda _: 1, Faults(), clock.call_later
    )
    with capture_logs() as lines:
        values.add("key", 1)
        values.add("key", 2)
        values.add("key", 3)
        clock.advance()
        clock.advance()
        values.add("key", 4)
    # The second is of the same place in the code, and counted.
    assert [line["event"] for line in lines] == ["flush failed"]
    assert told == [1, 5, 4]


def test_flush_may_add() -> None:
    clock = Clock()
    told: list[int] = []

    def flush(key: str, value: int) -> None:
        told.append(value)
        if value < 3:
            values.add(key, value + 1)

    values: Coalescer[str, int] = Coalescer(
        flush, int.__add__, lambda _: 1, Faults(), clock.call_later
    )
    values.add("key", 1)
    for _ in range(4):
        clock.advance()
    assert told == [1, 2, 3]


async def test_event_loop_keeps_the_time() -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    values: Coalescer[str, int] = Coalescer(
        lambda _, value: told.put_nowait(value), int.__add__, lambda _: 0.001, Faults()
    )
    for number in (1, 2, 3):
        values.add("key", number)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert [await told.get(), await told.get()] == [1, 5]
