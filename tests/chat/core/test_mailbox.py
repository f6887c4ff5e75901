"""A stream's bounded queue."""

import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chat.core.mailbox import ITEM_BYTES, Mailbox
from tests.support import MODEL

# Three items of ten bytes.
LIMIT = 3 * (10 + ITEM_BYTES)

# Shrinking a failure takes a while.
pytestmark = pytest.mark.timeout(300)


def test_mailbox_overflows_past_its_limit() -> None:
    mailbox = Mailbox(LIMIT)
    mailbox.put(b"x" * 4)
    mailbox.put(b"y" * (LIMIT - 4 - 2 * ITEM_BYTES))
    assert (mailbox.size, mailbox.overflowed) == (LIMIT, False)
    mailbox.put(b"z")
    assert (mailbox.size, mailbox.overflowed) == (0, True)
    assert mailbox.take(LIMIT) == []


@pytest.mark.parametrize("size", [1, 50, 500, 5000])
def test_mailbox_memory_is_within_its_limit(size: int) -> None:
    """Short items once took twice the limit."""
    mailbox = Mailbox(1 << 20)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        while mailbox.size + size + ITEM_BYTES <= mailbox.limit:
            mailbox.put(bytes(size))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert not mailbox.overflowed
    # One more byte would overflow, and little of the limit is unused.
    assert mailbox.limit // 3 < taken <= mailbox.limit


def size_of(item: bytes) -> int:
    return len(item) + ITEM_BYTES


class MailboxMachine(RuleBasedStateMachine):
    """A mailbox against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox(LIMIT)
        self.waiting: list[bytes] = []
        self.overflowed = False

    def waiting_bytes(self) -> int:
        return sum(map(size_of, self.waiting))

    # An item larger than the limit fits into an empty mailbox.
    @rule(item=st.binary(min_size=1, max_size=LIMIT // 2) | st.just(bytes(LIMIT + 1)))
    def put(self, item: bytes) -> None:
        self.mailbox.put(item)
        if self.waiting and self.waiting_bytes() + size_of(item) > LIMIT:
            self.overflowed = True
        self.waiting = [] if self.overflowed else [*self.waiting, item]

    @precondition(lambda self: self.waiting)
    @rule(at_most=st.integers(1, 2 * LIMIT))
    def take(self, at_most: int) -> None:
        taken = self.mailbox.take(at_most)
        assert taken == self.waiting[: len(taken)]
        rest = self.waiting[len(taken) :]
        size = len(b"".join(taken))
        assert len(taken) == 1 or 0 < size <= at_most
        # Taking stops only where the next item would exceed the limit.
        assert not rest or size + len(rest[0]) > at_most
        self.waiting = rest

    @invariant()
    def counts(self) -> None:
        assert self.mailbox.size == self.waiting_bytes()
        assert self.mailbox.overflowed == self.overflowed

    def teardown(self) -> None:
        assert self.mailbox.take(10**6) == self.waiting


TestMailboxMachine = MailboxMachine.TestCase
TestMailboxMachine.settings = settings(MODEL, max_examples=60)
