"""Every engine against a plain model, in any order of calls."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from chat.storage.base import Range
from gen.chat import ChatMessage
from tests.contract.engines import ENGINES, Build
from tests.contract.machine import EngineMachine, check
from tests.support import message, seqs

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


class StoreMachine(EngineMachine):
    """Compares a store with lists and dictionaries."""

    def __init__(self, build: Build, database: str) -> None:
        super().__init__(build, database)
        self.log: dict[str, list[ChatMessage]] = {room: [] for room in ROOMS}
        self.originals: dict[tuple[str, str, str], ChatMessage] = {}
        self.announced: list[ChatMessage] = []

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

    @invariant()
    def announced_in_order(self) -> None:
        for room, log in self.log.items():
            assert [m for m in self.engine.announced if m.room_id == room] == log


@pytest.mark.parametrize("build", ENGINES)
def test_calls_in_any_order(request: pytest.FixtureRequest, build: Build) -> None:
    check(StoreMachine, request, build, examples=30, shared_examples=10)
