"""Nodes on one database: stores, and what each of them announced."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from chat.metrics import StoreMetrics
from chat.storage.base import Range
from chat.storage.changes import Change
from chat.storage.health import State
from chat.storage.listener import Head, Listener, UserMark, Whisper
from chat.storage.postgres import PostgresStore
from gen.chat import ChangeMessageRequest, ChatMessage, RoomChanges
from tests.kit import PATIENCE_SECONDS
from tests.support import message, seqs

QUEUE_BYTES = 16 * 1024 * 1024
NEVER = 3600.0
"""As `sweep_seconds`: what no hint tells is not found."""


class Node:
    """A store, and what it announced.

    Attributes:
        sizes: the bytes of text that were announced at once.
        listen: called with what is announced.
        changed: what changed in rooms.
        marked: how far users have read.
        whispered: what other nodes told of their clients, by whom.
        met: other nodes that are there.
        lost: other nodes that are gone.
    """

    def __init__(self) -> None:
        self.announced: list[ChatMessage] = []
        self.sizes: list[int] = []
        self.listen: Callable[[Sequence[ChatMessage]], object] = lambda _: None
        self.renewed: list[Mapping[str, Head]] = []
        self.changed: list[RoomChanges] = []
        self.marked: list[UserMark] = []
        self.whispered: list[tuple[str, Whisper]] = []
        self.met: list[str] = []
        self.lost: list[str] = []
        self.metrics = StoreMetrics()
        self.store: PostgresStore
        self._changed = asyncio.Event()

    def announce(self, messages: Sequence[ChatMessage]) -> None:
        self.announced += messages
        self.sizes.append(sum(len(each.content) for each in messages))
        self.listen(messages)
        self._changed.set()

    def renew(self, heads: Mapping[str, Head]) -> None:
        self.renewed.append(heads)
        self._changed.set()

    def hear_changes(self, changes: Sequence[RoomChanges]) -> None:
        self.changed += changes
        self._changed.set()

    def hear_marks(self, marks: Sequence[UserMark]) -> None:
        self.marked += marks
        self._changed.set()

    def hear_whisper(self, node: str, whisper: Whisper) -> None:
        self.whispered.append((node, whisper))
        self._changed.set()

    def meet(self, node: str) -> None:
        self.met.append(node)
        self._changed.set()

    def lose(self, node: str) -> None:
        self.lost.append(node)
        self._changed.set()

    async def hears_whispers(self, count: int) -> list[tuple[str, Whisper]]:
        """Waits for so many whispers; returns them."""
        await self._until(lambda: len(self.whispered) >= count)
        assert len(self.whispered) == count
        return self.whispered

    async def meets(self) -> list[str]:
        """Waits for another node; returns all that there are."""
        await self._until(lambda: bool(self.met))
        return self.met

    async def loses(self, node: str) -> None:
        """Waits until another node is gone."""
        await self._until(lambda: node in self.lost)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hears_change(self, change: int, room_id: str = "room") -> list[RoomChanges]:
        """Waits until a room was announced up to a change; returns its spans, which chain."""

        def heard() -> list[RoomChanges]:
            return [each for each in self.changed if each.room_id == room_id]

        await self._until(lambda: any(each.last_change >= change for each in heard()))
        for before, behind in pairwise(heard()):
            assert behind.after_change == before.last_change
        return heard()

    async def hears_mark(self) -> UserMark:
        """Waits for a mark; returns the last one."""
        await self._until(lambda: bool(self.marked))
        return self.marked[-1]

    async def change(self, seq: int = 1, by: str = "ada", **change: Any) -> ChatMessage:
        """Changes a message of the room, as a moderator."""
        request = ChangeMessageRequest("room", seq, by, **change)
        return await self.store.change(Change(request, is_moderator=True))

    def heard_of(self, room_id: str) -> list[ChatMessage]:
        return [each for each in self.announced if each.room_id == room_id]

    async def stored(self, room_id: str) -> list[ChatMessage]:
        """All messages of a room."""
        return (await self.store.history(room_id, Range(1000, after_seq=0))).messages

    async def hears(self, count: int, room_id: str = "room") -> list[ChatMessage]:
        """Waits until so many messages of a room were announced; returns them."""
        await self._until(lambda: len(self.heard_of(room_id)) >= count)
        heard = self.heard_of(room_id)
        assert seqs(heard) == list(range(heard[0].seq, heard[0].seq + count))
        return heard

    async def is_renewed(self) -> Mapping[str, Head]:
        """Waits until the history has become another one; returns its heads."""
        await self._until(lambda: bool(self.renewed))
        return self.renewed[-1]

    async def send(self, count: int = 1, room_id: str = "room") -> list[ChatMessage]:
        """Stores messages, each in a call of its own; returns them."""
        sent = [message(room_id, key=uuid.uuid4().hex) for _ in range(count)]
        await asyncio.gather(*(self.store.append([each]) for each in sent))
        return sent


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets no bus be too slow: who listens is heard from then on, and who leaves has said so."""
    monkeypatch.setattr("chat.storage.postgres.subscriptions._PATIENCE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr("chat.storage.postgres.hints._LEAVE_SECONDS", PATIENCE_SECONDS)


@asynccontextmanager
async def opened(
    url: str, listener: Listener | None = None, **settings: Any
) -> AsyncIterator[PostgresStore]:
    """An open store; see `PostgresStore.open`."""
    store = await PostgresStore.open(url, listener or Listener(), QUEUE_BYTES, **settings)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def node(
    url: str, *rooms: str, hints: str = "", sweep_seconds: float = NEVER
) -> AsyncIterator[Node]:
    """Runs a store that follows rooms."""
    one = Node()
    listener = Listener(
        one.announce,
        one.renew,
        one.hear_changes,
        one.hear_marks,
        one.hear_whisper,
        one.meet,
        one.lose,
    )
    settings = {"hints": hints, "sweep_seconds": sweep_seconds}
    async with opened(url, listener, metrics=one.metrics, **settings) as one.store:
        for room_id in rooms:
            await one.store.follow(room_id)
        yield one
    assert one.store.health.state is not State.FATAL
