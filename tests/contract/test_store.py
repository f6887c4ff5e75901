"""The guarantees of `chat.storage.base`, on every engine."""

import asyncio
from datetime import UTC, datetime, timedelta

from chat.storage.base import PAGE_BYTES, Range, Store
from gen.chat import ChatMessage
from tests.contract.engines import Engine
from tests.support import message, seqs


async def fill(store: Store, number: int, room_id: str = "room") -> None:
    """Stores messages whose ids are their positions."""
    await store.append([message(room_id, key=str(seq)) for seq in range(1, number + 1)])


async def test_message_is_stored_unchanged(store: Store) -> None:
    text = "quotes \" and ' \\ tab\t newline\n \x01\x7f\u2028 é 字 😀"
    before = datetime.now(UTC)
    sent = message("rööm 😀", text, sender_id="ädä", key="№1")
    [result] = await store.append([sent])
    [found] = (await store.history("rööm 😀", Range(1))).messages
    assert found == result
    assert (found.id, found.room_id, found.sender_id) == ("№1", "rööm 😀", "ädä")
    assert found.content == text
    assert before - timedelta(milliseconds=1) <= found.sent_at <= datetime.now(UTC)


async def test_announcement_precedes_append_result(engine: Engine, store: Store) -> None:
    order: list[str] = []
    engine.listen = lambda message: order.append(f"announced {message.id}")
    futures = [store.append([message(key="1")]), store.append([message(key="2")])]
    for future in futures:
        future.add_done_callback(lambda done: order.append(f"done {done.result()[0].id}"))
    await asyncio.gather(*futures)
    assert order.index("announced 1") < order.index("done 1")
    assert order.index("announced 2") < order.index("done 2")


async def test_announced_message_can_be_read(engine: Engine, store: Store) -> None:
    lookups: list[asyncio.Task[tuple[int, list[ChatMessage]]]] = []

    async def look_up(seq: int) -> tuple[int, list[ChatMessage]]:
        page = await store.history("room", Range(1, before_seq=seq + 1))
        return await store.last_seq("room"), page.messages

    engine.listen = lambda message: lookups.append(asyncio.create_task(look_up(message.seq)))
    for number in range(1, 21):
        await store.append([message(key=str(number))])
    for seq, lookup in enumerate(lookups, start=1):
        head, found = await lookup
        assert head >= seq
        assert seqs(found) == [seq]
    assert len(lookups) == 20


async def test_concurrent_appends(engine: Engine, store: Store) -> None:
    async def send(sender: str) -> list[ChatMessage]:
        stored = []
        for number in range(20):
            [result] = await store.append([message(sender_id=sender, key=str(number))])
            stored.append(result)
        return stored

    each = await asyncio.gather(*(send(f"sender {number}") for number in range(30)))
    for stored in each:
        assert seqs(stored) == sorted(seqs(stored))
    everything = sorted((m for stored in each for m in stored), key=lambda m: m.seq)
    assert seqs(everything) == list(range(1, 601))
    assert engine.announced == everything
    page = await store.history("room", Range(600))
    assert page.messages == everything


async def test_large_call_is_stored(store: Store) -> None:
    """More rows than one SQL statement can have."""
    for start, number in ((0, 1000), (1000, 129), (1129, 127), (1256, 1)):
        await store.append([message(key=str(start + nth)) for nth in range(number)])
    assert await store.last_seq("room") == 1257
    page = await store.history("room", Range(2000, after_seq=0))
    assert [(m.seq, m.id) for m in page.messages] == [(n + 1, str(n)) for n in range(1257)]


async def test_more_than_one_commit_takes(engine: Engine, store: Store) -> None:
    calls = [[message(key=f"{n}-{m}") for m in range(1000)] for n in range(11)]
    results = await asyncio.gather(*map(store.append, calls))
    stored = [result for call in results for result in call]
    assert seqs(stored) == list(range(1, 11_001))
    assert seqs(engine.announced) == list(range(1, 11_001))


async def test_writable_returns_when_idle(store: Store) -> None:
    await store.wait_writable()
    await fill(store, 3)
    await store.wait_writable()


PAGES = [
    (Range(3), [8, 9, 10], True),
    (Range(9), [2, 3, 4, 5, 6, 7, 8, 9, 10], True),
    (Range(10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], False),
    (Range(500), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], False),
    (Range(3, before_seq=8), [5, 6, 7], True),
    (Range(3, before_seq=4), [1, 2, 3], False),
    (Range(3, before_seq=1), [], False),
    (Range(3, before_seq=0), [], False),
    (Range(3, before_seq=2**32 - 1), [8, 9, 10], True),
    (Range(3, after_seq=0), [1, 2, 3], True),
    (Range(3, after_seq=6), [7, 8, 9], True),
    (Range(3, after_seq=7), [8, 9, 10], False),
    (Range(3, after_seq=10), [], False),
    (Range(3, after_seq=2**32 - 1), [], False),
    (Range(3, before_seq=9, after_seq=4), [5, 6, 7], True),
    (Range(4, before_seq=9, after_seq=4), [5, 6, 7, 8], False),
    (Range(3, before_seq=5, after_seq=4), [], False),
    (Range(3, before_seq=4, after_seq=9), [], False),
]


async def test_pages(store: Store) -> None:
    await fill(store, 5, "room before")
    await fill(store, 10)
    await fill(store, 5, "room behind")
    for span, expected, has_more in PAGES:
        page = await store.history("room", span)
        assert (seqs(page.messages), page.has_more) == (expected, has_more), span
        assert {m.room_id for m in page.messages} <= {"room"}


async def test_page_text_is_bounded(store: Store) -> None:
    size = 16 * 1024
    fitting = PAGE_BYTES // size
    await store.append([message(content="x" * size, key=str(n)) for n in range(fitting + 1)])
    for span, first in ((Range(500), 2), (Range(500, after_seq=0), 1)):
        page = await store.history("room", span)
        assert seqs(page.messages) == list(range(first, first + fitting))
        assert page.has_more


async def test_page_text_is_counted_in_bytes(store: Store) -> None:
    euros = PAGE_BYTES // 2 // len("€".encode())
    await store.append([message(content="€" * euros, key=key) for key in "123"])
    page = await store.history("room", Range(500))
    assert (seqs(page.messages), page.has_more) == ([2, 3], True)


async def test_page_holds_one_large_message(store: Store) -> None:
    await store.append([message(content="x" * (PAGE_BYTES + 1), key=key) for key in "123"])
    page = await store.history("room", Range(500))
    assert (seqs(page.messages), page.has_more) == ([3], True)
    page = await store.history("room", Range(500, after_seq=0))
    assert (seqs(page.messages), page.has_more) == ([1], True)


async def test_epoch_is_short_and_stable(store: Store) -> None:
    epoch = store.epoch
    assert 1 <= len(epoch) <= 64
    await fill(store, 3)
    assert store.epoch == epoch


async def test_close_stores_queued_messages(engine: Engine) -> None:
    """However many bytes."""
    async with engine.open() as store:
        calls = [[message(key=f"{n}-{m}") for m in range(1000)] for n in range(11)]
        futures = [store.append(call) for call in calls]
    assert seqs(engine.announced) == list(range(1, 11_001))
    assert all(future.done() for future in futures)
