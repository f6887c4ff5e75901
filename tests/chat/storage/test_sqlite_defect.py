"""An unforeseen failure in the writer thread: nobody waits for ever."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chat.storage.base import Range, StoreError
from chat.storage.health import State
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage
from tests.support import PATIENCE_SECONDS, eventually, message, seqs


class _Failing(logging.Handler):
    """A log handler of an embedding program; fails at its first line of this level."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            raise RuntimeError(record.levelname)


@contextmanager
def failing_log() -> Iterator[_Failing]:
    handler = _Failing()
    logger = logging.getLogger("chat")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("unstorable", [False, True])
async def test_writer_failure_reaches_all_callers(tmp_path: Path, unstorable: bool) -> None:
    path = tmp_path / "real" / "chat.db"
    announced: list[ChatMessage] = []
    store = await SqliteStore.open(str(path), Listener(announced.extend), 4096)
    await store.append([message(key="1")])
    with failing_log() as handler:
        if unstorable:
            # Reported once the rest of its commit is stored.
            bad = store.append([message(sender_id="\ud800", key="2")])
            with pytest.raises(StoreError):
                await asyncio.wait_for(bad, PATIENCE_SECONDS)
        else:
            path.parent.rename(tmp_path / "moved")
        await eventually(lambda: store.health.state is State.FATAL)
        assert handler.failed
    async with asyncio.timeout(PATIENCE_SECONDS):
        for key in "34567":
            with pytest.raises(StoreError):
                await store.append([message(content="x" * 2000, key=key)])
        await store.wait_writable()
        assert seqs((await store.history("room", Range(5))).messages) == [1]
        await store.close()
    assert seqs(announced) == [1]
