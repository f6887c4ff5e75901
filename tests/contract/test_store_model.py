"""Every engine against a plain model, in any order of calls."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chat.storage.base import Range, Store
from gen.chat import ChatMessage
from tests.contract.engines import DURABLE, ENGINES, SHARED, Build, Place, empty, place_of
from tests.support import MODEL, message, seqs

# Any text is a name, even SQL.
ROOMS = ["a", "b", "'; DELETE FROM message; --"]
rooms = st.sampled_from(ROOMS)
positions = st.none() | st.integers(0, 12)
sends = st.builds(
    message,
    room_id=rooms,
    content=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10),
    sender_id=st.sampled_from(["ada", "bob' OR '1'='1"]),
    key=st.sampled_from("123456"),
)

# Shrinking a failure takes a while.
pytestmark = pytest.mark.timeout(300)


class StoreMachine(RuleBasedStateMachine):
    """Compares a store with lists and dictionaries."""

    def __init__(self, build: Build, database: str) -> None:
        super().__init__()
        self.durable = build in DURABLE
        self.database = database
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.folder = tempfile.TemporaryDirectory()
        self.engine = build(Place(Path(self.folder.name), database))
        self.stack = AsyncExitStack()
        self.store = self.runner.run(self.open())
        self.epoch = self.store.epoch
        self.log: dict[str, list[ChatMessage]] = {room: [] for room in ROOMS}
        self.originals: dict[tuple[str, str, str], ChatMessage] = {}
        self.announced: list[ChatMessage] = []

    async def open(self) -> Store:
        return await self.stack.enter_async_context(self.engine.open())

    @rule(calls=st.lists(st.lists(sends, max_size=4), min_size=1, max_size=3))
    def append(self, calls: list[list[ChatMessage]]) -> None:
        async def append() -> None:
            futures = [self.store.append(call) for call in calls]
            for call, future in zip(calls, futures, strict=True):
                results = await future
                expected = [self.expect(sent) for sent in call]
                assert [(r is s, r) for s, r in zip(call, results, strict=True)] == expected

        self.runner.run(append())

    def expect(self, sent: ChatMessage) -> tuple[bool, ChatMessage]:
        """Stores a message in the model."""
        key = (sent.room_id, sent.sender_id, sent.id)
        if key in self.originals:
            return False, self.originals[key]
        log = self.log[sent.room_id]
        log.append(sent)
        assert sent.seq == len(log)
        self.originals[key] = sent
        self.announced.append(sent)
        return True, sent

    @rule(room=rooms, limit=st.integers(1, 8), before=positions, after=positions)
    def page(self, room: str, limit: int, before: int | None, after: int | None) -> None:
        page = self.runner.run(self.store.history(room, Range(limit, before, after)))
        low = after or 0
        high = len(self.log[room]) + 1 if before is None else before
        found = [m for m in self.log[room] if low < m.seq < high]
        kept = found[-limit:] if after is None else found[:limit]
        assert page.messages == kept
        assert seqs(page.messages) == seqs(kept)
        assert page.has_more == (len(found) > limit)

    @rule(room=rooms)
    def head(self, room: str) -> None:
        assert self.runner.run(self.store.last_seq(room)) == len(self.log[room])

    @rule()
    def reopen(self) -> None:
        """Not of the engine in memory: it would be empty."""
        if self.durable:
            self.runner.run(self.stack.aclose())
            self.store = self.runner.run(self.open())
            assert self.store.epoch == self.epoch

    @invariant()
    def announced_in_order(self) -> None:
        for room, log in self.log.items():
            assert [m for m in self.engine.announced if m.room_id == room] == log

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        if self.database:
            self.runner.run(empty(self.database))
        self.runner.close()
        self.folder.cleanup()


@pytest.mark.parametrize("build", ENGINES)
def test_calls_in_any_order(request: pytest.FixtureRequest, build: Build) -> None:
    database = place_of(request, build).database
    run_state_machine_as_test(
        lambda: StoreMachine(build, database),  # type: ignore[arg-type] # any factory will do
        # A server takes its time.
        settings=settings(
            MODEL, max_examples=10 if build in SHARED else 30, stateful_step_count=20
        ),
    )
