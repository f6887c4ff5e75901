"""`sent_at` under a clock that jumps, on every engine and over a restart."""

import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chat.storage.base import Store
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from chat.storage.sqlite import SqliteStore
from chat.storage.stamps import LEAD_SECONDS, Stamps, from_micros
from tests.support import eventually, message

START = 1_700_000_000.0
YEAR = 365 * 86_400.0
GONE_BACK = "times of messages go back, as the clock does"


class Clock:
    """A wall clock, in seconds since 1970."""

    def __init__(self) -> None:
        self.now = START

    def read(self) -> int:
        """Like `time.time_ns`."""
        return round(self.now * 1_000_000_000)


async def sqlite(folder: Path, clock: Clock, idle_seconds: float | None = None) -> Store:
    return await SqliteStore.open(
        str(folder / "chat.db"), Listener(), 1 << 20, clock=clock.read, idle_seconds=idle_seconds
    )


async def memory(_: Path, clock: Clock) -> Store:
    return MemoryStore(Listener(), clock.read)


class Sender:
    """Sends distinct messages to a store."""

    def __init__(self, store: Store, life: str = "") -> None:
        self._store = store
        self._life = life
        self._number = 0

    async def send(self) -> float:
        """Sends a message; returns its `sent_at`, in seconds since `START`."""
        self._number += 1
        [sent] = await self._store.append([message(key=f"{self._life}{self._number}")])
        return sent.sent_at.timestamp() - START


@pytest.fixture
def clock() -> Clock:
    return Clock()


Build = Callable[[Path, Clock], Awaitable[Store]]
engines = pytest.mark.parametrize("build", [sqlite, memory])


@engines
async def test_small_clock_step_back_is_waited_for(
    build: Build, tmp_path: Path, clock: Clock
) -> None:
    store = await build(tmp_path, clock)
    sender = Sender(store)
    with capture_logs() as logs:
        times = []
        for seconds in (0.0, 1.5, 1.5 - LEAD_SECONDS, -3.0, 1.25, 1.75):
            clock.now = START + seconds
            times.append(await sender.send())
    assert times == [0, 1.5, 1.5, 1.5, 1.5, 1.75]
    assert logs == []
    await store.close()


@engines
async def test_wrong_clock_is_given_up(build: Build, tmp_path: Path, clock: Clock) -> None:
    store = await build(tmp_path, clock)
    sender = Sender(store)
    with capture_logs() as logs:
        assert await sender.send() == 0
        clock.now += YEAR
        assert await sender.send() == YEAR
        clock.now = START + 1
        assert [await sender.send(), await sender.send()] == [1, 1]
        clock.now = START + 2
        assert await sender.send() == 2
    [line] = logs
    assert (line["event"], line["log_level"]) == (GONE_BACK, "warning")
    assert line["by_seconds"] == YEAR - 1
    assert (line["from_time"], line["to_time"]) == (
        "2024-11-13T22:13:20+00:00",
        "2023-11-14T22:13:21+00:00",
    )
    await store.close()


@pytest.mark.parametrize("end", ["closed", "killed", "killed when all was folded"])
@pytest.mark.parametrize(("back", "expected"), [(LEAD_SECONDS - 1, 0), (YEAR, -YEAR)])
async def test_times_continue_after_restart(
    tmp_path: Path, clock: Clock, end: str, back: float, expected: float
) -> None:
    folder = tmp_path / "first"
    folder.mkdir()
    idle_seconds = 0.01 if end.endswith("folded") else None
    store = await sqlite(folder, clock, idle_seconds)
    first = Sender(store)
    assert [await first.send() for _ in range(3)] == [0, 0, 0]
    if end.startswith("killed"):
        if idle_seconds:
            await eventually(lambda: b"last_sent_at" in (folder / "chat.db-wal").read_bytes())
        killed = tmp_path / "killed"
        shutil.copytree(folder, killed)
        await store.close()
        folder = killed
    else:
        await store.close()
    clock.now -= back
    with capture_logs() as logs:
        store = await sqlite(folder, clock)
        second = Sender(store, "second ")
        assert [await second.send() for _ in range(2)] == [expected, expected]
        await store.close()
    assert [line["event"] for line in logs] == ([GONE_BACK] if expected else [])


@pytest.mark.parametrize("seconds", [-1e12, -1.0, 1e12])
async def test_any_clock_lets_messages_be_stored(
    tmp_path: Path, clock: Clock, seconds: float
) -> None:
    store = await sqlite(tmp_path, clock)
    sender = Sender(store)
    clock.now = seconds
    await sender.send()
    with capture_logs():
        clock.now = START
        assert await sender.send() == 0
    await store.close()


@given(st.lists(st.integers(-(10**8), 10**8), min_size=1), st.integers(-(10**8), 10**8))
def test_times_follow_the_clock(readings: list[int], last: int) -> None:
    base, lead = 10**15, LEAD_SECONDS * 10**6
    now = 0
    stamps = Stamps(lambda: (base + now) * 1000, base + last)
    before, gone_back = base + last, 0
    with capture_logs() as logs:
        for now in readings:
            given_out = stamps.next()
            assert base + now <= given_out <= base + now + lead
            if given_out < before:
                gone_back += 1
                assert before - (base + now) > lead
            before = given_out
    assert len(logs) == gone_back


def test_time_is_exact() -> None:
    assert from_micros(1_700_000_000_123_456) - from_micros(0) == timedelta(
        microseconds=1_700_000_000_123_456
    )
