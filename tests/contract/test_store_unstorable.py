"""A message that cannot be stored fails alone, on every engine."""

import asyncio

import pytest
from structlog.testing import capture_logs

from chat.storage.base import PartlyStored, Range, Store, StoreError, Unstorable
from gen.chat import ChatMessage
from tests.contract.engines import Engine
from tests.support import message, seqs

HALF_A_PAIR = "\ud800"
FIELDS = ["room_id", "sender_id", "id", "content"]


def bad(field: str = "content", key: str = "bad") -> ChatMessage:
    """A message that cannot be encoded."""
    made = message(key=key)
    setattr(made, field, f"x{HALF_A_PAIR}")
    return made


async def ids(store: Store, room_id: str = "room") -> list[str]:
    """The ids of the stored messages; checks that their positions have no gaps."""
    page = await store.history(room_id, Range(5000, after_seq=0))
    assert seqs(page.messages) == list(range(1, len(page.messages) + 1))
    assert await store.last_seq(room_id) == len(page.messages)
    return [each.id for each in page.messages]


@pytest.mark.parametrize("field", FIELDS)
async def test_unstorable_call_fails_alone(engine: Engine, store: Store, field: str) -> None:
    await store.append([message(key="known")])
    calls = [[message(key="1")], [bad(field)], [message(key="2")], [message("new", key="3")]]
    with capture_logs():
        first, failed, second, third = await asyncio.gather(
            *map(store.append, calls), return_exceptions=True
        )
    assert isinstance(failed, Unstorable)
    assert (first, second, third) == (calls[0], calls[2], calls[3])
    assert await ids(store) == ["known", "1", "2"]
    assert [each.id for each in engine.announced] == ["known", "1", "2", "3"]


@pytest.mark.parametrize("field", FIELDS)
async def test_unstorable_message_fails_alone(engine: Engine, store: Store, field: str) -> None:
    for room_id, place in (("room", 0), ("a", 3), ("b", 6)):
        await store.append([message(room_id, key="known")])
        sent = [message(room_id, key=key) for key in ("1", "2", "known", "3", "1", "4")]
        sent.insert(place, bad(field))
        with capture_logs(), pytest.raises(PartlyStored) as failure:
            await store.append(sent)
        results = list(failure.value.results)
        assert isinstance(results.pop(place), Unstorable)
        assert [each.id for each in results if isinstance(each, ChatMessage)] == [
            *("1", "2", "known", "3", "1", "4")
        ]
        stored = ["known", "1", "2", "3", "4"]
        assert await ids(store, room_id) == stored
        assert [each.id for each in engine.announced if each.room_id == room_id] == stored


async def test_many_unstorable_messages_among_many(store: Store) -> None:
    calls = [
        [bad(key=str(n)) if n % 7 == 0 else message(key=str(n)) for n in range(start, start + 20)]
        for start in range(0, 400, 20)
    ]
    with capture_logs():
        results = await asyncio.gather(*map(store.append, calls), return_exceptions=True)
    for call, failure in zip(calls, results, strict=True):
        assert isinstance(failure, PartlyStored)
        for sent, result in zip(call, failure.results, strict=True):
            assert result is sent if int(sent.id) % 7 else isinstance(result, Unstorable)
    assert await ids(store) == [str(number) for number in range(400) if number % 7]


async def test_unstorable_user_fails_alone(store: Store) -> None:
    with capture_logs():
        ada, bob, eve, sent = await asyncio.gather(
            store.upsert_user("ada", "Ada", ""),
            store.upsert_user("bob", f"Bob{HALF_A_PAIR}", ""),
            store.upsert_user(f"eve{HALF_A_PAIR}", "Eve", ""),
            store.append([message(sender_id="cy", key="1")]),
            return_exceptions=True,
        )
    assert isinstance(bob, Unstorable)
    assert isinstance(eve, Unstorable)
    assert not isinstance(ada, BaseException)
    assert not isinstance(sent, BaseException)
    assert [user.id for user in await store.list_users("", 9)] == ["ada", "cy"]


async def test_cancelled_caller_is_skipped(engine: Engine, store: Store) -> None:
    futures = [store.append([bad()]), store.append([bad(), message(key="1")])]
    for future in futures:
        future.cancel()
    with capture_logs():
        await store.append([message(key="2")])
    assert await ids(store) == ["1", "2"]
    assert [each.id for each in engine.announced] == ["1", "2"]


def test_partial_failure_counts_its_messages() -> None:
    failure = PartlyStored([message(key="1"), Unstorable("why"), StoreError("full")])
    assert str(failure) == "2 of 3 messages not stored: why"
