"""Failing commits: because of a message, or because of the store."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import apsw
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from structlog.testing import capture_logs

from chat.metrics import StoreMetrics
from chat.storage.base import PartlyStored, Range, StoreError, Unstorable
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from chat.storage.sqlite.asks import Ask
from chat.storage.sqlite.journal import Commit, UserRow
from chat.storage.sqlite.salvage import Salvage, is_of_a_value
from gen.chat import ChatMessage
from tests.chat.storage.files import full_disk, opened
from tests.support import MODEL, message, no_file_grows_past, seqs

BAD = "\udfff"

# Shrinking a failure takes a while.
pytestmark = pytest.mark.timeout(300)


class Counting:
    """Stores messages in a list, and counts the attempts.

    Args:
        broken_after: the number of messages after which storing fails.
    """

    def __init__(self, broken_after: int = 1 << 30) -> None:
        self.attempts = 0
        self.stored: list[ChatMessage] = []
        self._broken_after = broken_after

    def store(
        self,
        appends: Sequence[Sequence[ChatMessage]],
        users: Sequence[UserRow],
        asks: Sequence[Ask],
    ) -> Commit:
        """As `Commits.store`."""
        assert not asks
        self.attempts += 1
        [messages] = appends
        for each in messages:
            each.content.encode()
        for user in users:
            "".join(user[:3]).encode()
        if len(self.stored) + len(messages) > self._broken_after:
            raise apsw.FullError
        self.stored += messages
        return Commit([list(messages)], list(messages))


@given(st.lists(st.booleans(), min_size=1, max_size=200).filter(lambda good: False in good))
def test_salvage_stores_the_good_in_order(good: list[bool]) -> None:
    sent = [message(content="x" if each else BAD) for each in good]
    counting = Counting()
    outcomes = Salvage(counting.store).apart(sent, ValueError())
    assert [isinstance(outcome, ChatMessage) for outcome in outcomes] == good
    assert counting.stored == [each for each in sent if each.content == "x"]
    bad = good.count(False)
    assert counting.attempts <= max(2, 2 * bad * len(good).bit_length())


def test_salvage_takes_few_attempts() -> None:
    sent = [message(content="x") for _ in range(16_000)]
    sent[11_111].content = BAD
    counting = Counting()
    Salvage(counting.store).apart(sent, ValueError())
    assert counting.attempts <= 2 * 14
    assert len(counting.stored) == 15_999


def test_salvage_ends_if_the_store_fails() -> None:
    sent = [message(content="x") for _ in range(1000)]
    sent[1].content = BAD
    counting = Counting(broken_after=300)
    outcomes = Salvage(counting.store).apart(sent, ValueError())
    stored = [outcome for outcome in outcomes if isinstance(outcome, ChatMessage)]
    assert stored == counting.stored
    assert [type(each) for each in outcomes[:3]] == [ChatMessage, Unstorable, ChatMessage]
    assert {type(each) for each in outcomes[len(stored) + 1 :]} == {StoreError}
    attempts = counting.attempts
    assert attempts <= 2 * 10
    # Each smaller piece would have fitted.
    assert len(stored) + 1 <= 500


@pytest.mark.parametrize(
    ("error", "of_a_value"),
    [
        (apsw.FullError(), False),
        (apsw.IOError(), False),
        (apsw.ReadOnlyError(), False),
        (apsw.CorruptError(), False),
        (apsw.BusyError(), False),
        (apsw.SQLError(), False),
        (apsw.NoMemError(), False),
        (OSError(), False),
        (MemoryError(), False),
        (StoreError(), False),
        (apsw.TooBigError(), True),
        (apsw.ConstraintError(), True),
        (UnicodeEncodeError("utf-8", BAD, 0, 1, "why"), True),
        (TypeError(), True),
        (OverflowError(), True),
        (KeyError(), True),
    ],
)
def test_errors_of_store_and_value_differ(error: Exception, of_a_value: bool) -> None:
    assert is_of_a_value(error) == of_a_value


async def test_full_disk_is_tried_once(tmp_path: Path) -> None:
    path, metrics = tmp_path / "chat.db", StoreMetrics()
    async with opened(path, metrics=metrics) as store:
        await store.append([message(key="0")])
        calls = [[message(key=f"{n}-{m}") for m in range(20)] for n in range(10)]
        with full_disk(path), capture_logs() as logs:
            results = await asyncio.gather(*map(store.append, calls), return_exceptions=True)
        assert {type(result) for result in results} == {StoreError}
        assert metrics.failures == len([line for line in logs if line["event"] == "commit failed"])
        assert metrics.failures <= 2  # perhaps one for the first call, one for the others


async def test_unstorable_message_is_no_store_failure(
    tmp_path: Path,
) -> None:
    metrics = StoreMetrics()
    async with opened(tmp_path / "chat.db", metrics=metrics) as store:
        with capture_logs() as logs, pytest.raises(PartlyStored):
            await store.append([message(key="1"), message(key="2", content=BAD), message(key="3")])
        [line] = logs
        assert (line["event"], line["log_level"]) == (
            "commit made without what cannot be stored",
            "error",
        )
        assert line["number"] == 1
        assert isinstance(line["exc_info"], Exception)
        assert metrics.failures == 0
        assert store.health.is_serving


ROOMS = ["a", "b", "c"]
texts = st.sampled_from(["x", "y" * 500, BAD])
sends = st.builds(
    message,
    room_id=st.sampled_from([*ROOMS, f"d{BAD}"]),
    content=texts,
    sender_id=st.sampled_from(["ada", "bob", "cy", f"eve{BAD}"]),
    key=st.sampled_from("123456789"),
)
calls = st.lists(st.lists(sends, max_size=5), min_size=1, max_size=4)


def is_good(sent: ChatMessage) -> bool:
    """Whether the message can be encoded."""
    return BAD not in sent.content + sent.room_id + sent.sender_id


class FailingMachine(RuleBasedStateMachine):
    """A store whose commits fail now and then, for either reason, against lists."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.stack = AsyncExitStack()
        folder = tempfile.TemporaryDirectory()
        self.stack.callback(folder.cleanup)
        self.path = Path(folder.name) / "chat.db"
        self.log: dict[str, list[ChatMessage]] = {room: [] for room in ROOMS}
        self.originals: dict[tuple[str, str, str], ChatMessage] = {}
        self.announced: list[ChatMessage] = []
        self.store = self.runner.run(self.open())

    async def open(self) -> SqliteStore:
        return await SqliteStore.open(
            str(self.path),
            Listener(self.announced.extend),
            1 << 20,
            fold_bytes=2000,
            idle_seconds=None,
        )

    @rule(calls=calls)
    def append(self, calls: list[list[ChatMessage]]) -> None:
        for sent, result in self.results(calls):
            # An unstorable repeat of a stored message gets the original, too.
            assert isinstance(result, ChatMessage if is_good(sent) else ChatMessage | Unstorable)

    @rule(calls=calls, room=st.integers(0, 8192))
    def append_while_the_disk_is_full(self, calls: list[list[ChatMessage]], room: int) -> None:
        size = max(each.stat().st_size for each in self.path.parent.iterdir())
        with no_file_grows_past(size + room):
            for sent, result in self.results(calls):
                assert not (is_good(sent) and isinstance(result, Unstorable))

    def results(
        self, calls: list[list[ChatMessage]]
    ) -> list[tuple[ChatMessage, ChatMessage | StoreError]]:
        """Appends all; checks the stored messages; returns the outcome of each."""

        async def append() -> list[list[ChatMessage] | BaseException]:
            return await asyncio.gather(*map(self.store.append, calls), return_exceptions=True)

        found: list[tuple[ChatMessage, ChatMessage | StoreError]] = []
        with capture_logs():
            done = self.runner.run(append())
        for call, result in zip(calls, done, strict=True):
            if isinstance(result, PartlyStored):
                found += zip(call, result.results, strict=True)
            elif isinstance(result, BaseException):
                assert isinstance(result, StoreError)
                found += [(sent, result) for sent in call]
            else:
                found += zip(call, result, strict=True)
        for sent, stored in found:
            if isinstance(stored, ChatMessage):
                self.expect(sent, stored)
        return found

    def expect(self, sent: ChatMessage, stored: ChatMessage) -> None:
        """Checks for the next position, or for the message stored before."""
        key = (sent.room_id, sent.sender_id, sent.id)
        if stored is not sent:
            assert stored == self.originals[key]
            return
        assert is_good(sent)
        assert key not in self.originals
        self.log[sent.room_id].append(sent)
        assert sent.seq == len(self.log[sent.room_id])
        self.originals[key] = sent

    @rule()
    def reopen(self) -> None:
        with capture_logs() as logs:
            self.runner.run(self.store.close())
            self.store = self.runner.run(self.open())
        assert logs == []

    @invariant()
    def all_of_it_is_there_once_and_in_order(self) -> None:
        for room, log in self.log.items():
            page = self.runner.run(self.store.history(room, Range(1000, after_seq=0)))
            assert seqs(page.messages) == list(range(1, len(log) + 1))
            assert page.messages == log
            assert self.runner.run(self.store.last_seq(room)) == len(log)
            assert [each for each in self.announced if each.room_id == room] == log

    def teardown(self) -> None:
        with capture_logs():
            self.runner.run(self.store.close())
        self.runner.close()
        self.runner = asyncio.Runner()
        self.runner.run(self.stack.aclose())
        self.runner.close()


TestFailing = FailingMachine.TestCase
TestFailing.settings = settings(MODEL, max_examples=30, stateful_step_count=15)
