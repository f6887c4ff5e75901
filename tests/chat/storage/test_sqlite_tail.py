"""The newest messages: in memory, by generation and room."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.storage.base import PAGE_BYTES, Range, Store
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from chat.storage.sqlite.tail import Tail
from gen.chat import ChatMessage
from tests.chat.storage.files import open_store, opened
from tests.chat.storage.work import work_of
from tests.support import message, seqs

MANY = 20_000
SPANS = [
    Range(10),
    Range(10, before_seq=MANY // 2),
    Range(10, before_seq=4_000_000_000),
    Range(10, after_seq=5),
    Range(10, after_seq=MANY // 2),
    Range(10, before_seq=MANY // 2, after_seq=5),
    Range(10, before_seq=MANY - 5, after_seq=MANY - 100),
    Range(10, before_seq=2),
]


def stored(room_id: str, seq: int) -> ChatMessage:
    made = message(room_id, key=str(seq))
    made.seq = seq
    return made


def two_generations() -> Tail:
    """Of `room`, 3 and 4 are in the older one and 5 in the newer; of `old`, 7 in the older."""
    tail = Tail()
    tail.add(1, [stored("room", 3), stored("old", 7)])
    tail.add(1, [stored("room", 4)])
    tail.add(2, [stored("room", 5)])
    return tail


def test_head_is_the_newest_of_all_generations() -> None:
    tail = two_generations()
    assert (tail.last_seq("room"), tail.last_seq("old"), tail.last_seq("other")) == (5, 7, 0)
    tail.add(2, [stored("room", 6)])
    assert tail.last_seq("room") == 6


def test_only_older_generations_are_dropped() -> None:
    tail = two_generations()
    assert tail.last_seq("old") == 7  # sorted before it is dropped
    tail.drop(2)
    assert seqs(tail.find("room", Range(10))[0]) == [5]
    assert (tail.last_seq("room"), tail.last_seq("old")) == (5, 0)
    tail.drop(3)
    assert tail.find("room", Range(10)) == ([], Range(10))


def many(generations: int = 1) -> Tail:
    """One room with `MANY` messages."""
    tail = Tail()
    for start in range(1, MANY + 1, 100):
        generation = start * generations // (MANY + 1)
        tail.add(generation, [stored("room", seq) for seq in range(start, start + 100)])
    return tail


@pytest.mark.parametrize("generations", [1, 3])
@pytest.mark.parametrize("span", SPANS)
def test_tail_look_up_costs_one_page(span: Range, generations: int) -> None:
    tail = many(generations)
    for find in (lambda: tail.find("room", span), lambda: tail.last_seq("room")):
        work = work_of(find)
        assert work.calls < 100
        assert work.bytes < 8_000


def test_first_look_up_costs_no_more() -> None:
    """However many messages were added since the last one."""
    tail = Tail()
    tail.add(1, [stored(f"room {seq % 700}", 1 + seq // 700) for seq in range(MANY)])
    assert work_of(lambda: tail.last_seq("room 5")).calls < 100


@pytest.mark.parametrize("build", ["sqlite", "memory"])
async def test_history_read_costs_one_page(build: str, tmp_path: Path) -> None:
    store: Store
    if build == "sqlite":
        store = await open_store(tmp_path / "chat.db", queue_bytes=1 << 30, fold_bytes=1 << 30)
    else:
        store = MemoryStore(Listener())
    await store.append([message(key=str(number)) for number in range(MANY)])
    for span in SPANS:
        page = work_of(stepping(store, span))
        assert page.calls < 1000
        assert page.bytes < 50_000
    await store.close()


def stepping(store: Store, span: Range) -> Callable[[], None]:
    """Reads a page that is available without waiting."""

    def step() -> None:
        with pytest.raises(StopIteration):
            store.history("room", span).__await__().send(None)

    return step


async def test_full_page_reads_no_further(tmp_path: Path) -> None:
    """Neither in memory nor in the table."""
    async with opened(tmp_path / "chat.db", queue_bytes=1 << 30, fold_bytes=1 << 30) as store:
        text = "é" * 16_384
        fitting = PAGE_BYTES // len(text.encode())
        await store.append([message(content=text, key=str(number)) for number in range(1000)])
        for span in (Range(500), Range(500, before_seq=900), Range(500, after_seq=7)):
            assert work_of(stepping(store, span)).calls < 20 * fitting
    async with opened(tmp_path / "chat.db", queue_bytes=1 << 30, fold_bytes=1 << 30) as store:
        await store.append([message(content=text, key=f"new {number}") for number in range(100)])
        stepping(store, Range(500))()  # no wait for a reader thread


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    first=st.integers(1, 5),
    limit=st.integers(1, 8),
    before=st.none() | st.integers(0, 30),
    after=st.none() | st.integers(0, 30),
)
def test_page_matches_a_plain_scan(
    sizes: list[int], first: int, limit: int, before: int | None, after: int | None
) -> None:
    tail, newest = Tail(), first - 1
    for generation, size in enumerate(sizes):
        added = [stored("room", newest + nth) for nth in range(1, size + 1)]
        tail.add(generation, [stored("other", generation + 1), *added])
        newest += size
    found, rest = tail.find("room", Range(limit, before, after))
    low, high = after or 0, newest + 1 if before is None else before
    all_of_it = [seq for seq in range(first, newest + 1) if low < seq < high]
    assert seqs(found) == (all_of_it[-limit:] if after is None else all_of_it[:limit])
    assert (rest is None) == (low >= first - 1)
    if rest is not None:
        assert rest == Range(limit, first if before is None else min(first, before), after)


def test_removed_messages_are_released_in_pieces() -> None:
    tail = Tail()
    tail.add(1, [stored("large", seq) for seq in range(1, 26)])
    tail.add(1, [stored(f"small {number}", 1) for number in range(10)])
    tail.add(2, [stored("large", 26)])
    tail.drop(2)
    pieces = 1
    while tail.release(5):
        pieces += 1
    assert pieces >= 35 // 5
    assert seqs(tail.find("large", Range(10))[0]) == [26]
    assert not tail.release(5)
