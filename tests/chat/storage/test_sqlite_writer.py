"""Group commit: a failed commit leaves nothing behind."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chat.storage.base import Range, StoreError
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage
from tests.chat.storage.files import full_disk, opened
from tests.support import message, seqs, told


@pytest.fixture
async def store(path: Path, announced: list[ChatMessage]) -> AsyncIterator[SqliteStore]:
    async with opened(path, Listener(announced.extend), 4096) as store:
        yield store


def messages(*ids: str) -> list[ChatMessage]:
    return [message(key=each) for each in ids]


async def fail_to_append(store: SqliteStore, *calls: list[ChatMessage]) -> None:
    """Appends all calls in one turn; each must fail."""
    results = await asyncio.gather(*map(store.append, calls), return_exceptions=True)
    assert [type(result) for result in results] == [StoreError] * len(calls)


async def test_full_disk_leaves_no_gap(
    store: SqliteStore, path: Path, announced: list[ChatMessage]
) -> None:
    await store.append(messages("1", "2"))
    with full_disk(path), capture_logs() as logs:
        await fail_to_append(
            store, messages("3"), messages("4", "5"), [message("new room", key="1")]
        )
        assert seqs((await store.history("room", Range(5))).messages) == [1, 2]
        assert await store.get_user("ada") is not None
    events = [line["event"] for line in told(logs)]
    assert events == ["commit failed", "store refuses writes"]
    assert await store.last_seq("room") == 2
    assert await store.last_seq("new room") == 0
    assert seqs(announced) == [1, 2]

    sent = messages("4", "3", "2")
    again = await store.append(sent)
    assert [(found is each, found.seq) for each, found in zip(sent, again, strict=True)] == [
        (True, 3),
        (True, 4),
        (False, 2),
    ]
    assert seqs(announced) == [1, 2, 3, 4]


async def test_unstored_user_is_unknown(store: SqliteStore, path: Path) -> None:
    await store.append(messages("1"))
    with full_disk(path), capture_logs():
        with pytest.raises(StoreError):
            await store.upsert_user("bob", "Bob", "")
        await fail_to_append(store, [message(sender_id="eve", key="1")])
    assert await store.get_user("bob") is None
    assert await store.get_user("eve") is None
    await store.append([message(sender_id="eve", key="1")])
    assert await store.get_user("eve") is not None


async def test_senders_wait_for_queue_space(store: SqliteStore) -> None:
    queued = store.append([message(content="x" * 4096, key="1")])
    waiting = asyncio.create_task(store.wait_writable())
    await asyncio.sleep(0)
    assert not waiting.done()
    await queued
    await waiting


async def test_failed_commit_frees_queue_space(store: SqliteStore, path: Path) -> None:
    await store.append(messages("1"))
    with full_disk(path), capture_logs():
        for _ in range(5):
            await fail_to_append(store, [message(content="x" * 300_000, key="2")])
    await store.wait_writable()
    await store.append(messages("2"))


async def test_blocked_loop_gets_bounded_announcements(
    store: SqliteStore, announced: list[ChatMessage]
) -> None:
    """More at once would overflow the mailboxes of one room."""
    stored = [store.append([message(content="x" * 300_000, key=key)]) for key in "12345678"]
    time.sleep(0.3)  # noqa: ASYNC251 - blocks the loop while commits go on
    await asyncio.sleep(0)
    assert len(announced) <= 2
    await asyncio.gather(*stored)
    assert seqs(announced) == list(range(1, 9))


async def test_waiting_senders_keep_the_queue_bound(
    store: SqliteStore, announced: list[ChatMessage]
) -> None:
    """All are woken at once, but the queue exceeds its bound by one message at most."""
    waiting: list[int] = []

    async def append(number: int) -> None:
        await store.wait_writable()
        waiting.append(number - len(announced))
        await store.append([message(content="x" * 3000, key=str(number))])

    await asyncio.gather(*map(append, range(50)))
    assert seqs(announced) == list(range(1, 51))
    assert max(waiting) <= 1


async def test_upsert_waits_for_the_disk(store: SqliteStore) -> None:
    appended = store.append([message(content="x" * 5000, key="1")])
    waiting = asyncio.create_task(store.upsert_user("ada", "Ada", ""))
    await appended
    assert not waiting.done()
    assert (await waiting).name == "Ada"


def put_away(path: Path) -> None:
    path.rename(path.with_name("away"))


def put_back(path: Path) -> None:
    path.with_name("away").rename(path)


async def test_readers_survive_a_moved_file(store: SqliteStore, path: Path) -> None:
    """Reader threads keep the file open from the start."""
    await store.append(messages("1"))
    put_away(path)
    for _ in range(3):
        assert await store.last_seq("another room") == 0
        assert await store.get_user("ada") is not None
    put_back(path)
    assert await store.last_seq("another room") == 0
    user = await store.get_user("ada")
    assert user is not None
    assert user.name == "ada"
