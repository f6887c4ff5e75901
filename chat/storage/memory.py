"""A store in memory: the plain twin of the others, for tests and trials.

It keeps every guarantee of `chat.storage.base` but durability.
"""

import asyncio
import time
import uuid
from bisect import bisect_right, insort
from collections.abc import Sequence

import codec
from chat.metrics import StoreMetrics
from chat.storage.base import (
    Announce,
    MessageKey,
    Page,
    Range,
    Store,
    StoreError,
    Unstorable,
    finish,
    fit_page,
    make_user,
)
from chat.storage.health import StoreHealth
from chat.storage.stamps import Clock, Stamps, from_micros
from gen.chat import ChatMessage, User


class MemoryStore(Store):
    """A history that ends with the process.

    Args:
        announce: see `chat.storage.base`.
        clock: the wall clock.
        metrics: counts messages.
    """

    def __init__(
        self,
        announce: Announce,
        clock: Clock = time.time_ns,
        metrics: StoreMetrics | None = None,
    ) -> None:
        self._metrics = metrics or StoreMetrics()
        self._stamps = Stamps(clock)
        self.health = StoreHealth()
        self._epoch = uuid.uuid4().hex
        self._announce = announce
        self._rooms: dict[str, list[ChatMessage]] = {}
        self._keys: dict[MessageKey, ChatMessage] = {}
        self._users: dict[str, tuple[str, str]] = {}
        self._user_ids: list[str] = []  # in order
        self._active: set[str] = set()

    @property
    def epoch(self) -> str:
        return self._epoch

    def append(self, messages: Sequence[ChatMessage]) -> asyncio.Future[list[ChatMessage]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[ChatMessage]] = loop.create_future()
        results = [self._append(message) for message in messages]
        # Announced in a later turn, as any other engine does.
        loop.call_soon(self._finish, future, messages, results)
        return future

    async def wait_writable(self) -> None:
        return

    async def last_seq(self, room_id: str) -> int:
        return len(self._rooms.get(room_id, ()))

    async def history(self, room_id: str, span: Range) -> Page:
        room = self._rooms.get(room_id, [])
        # Of the positions behind `first` and up to `last`, one more than asked for shows
        # whether there are more.
        limit = span.limit + 1
        first = span.after_seq or 0
        last = len(room) if span.before_seq is None else min(len(room), span.before_seq - 1)
        if span.after_seq is not None:
            return fit_page(room[first : max(first, min(last, first + limit))], span)
        return fit_page(room[max(0, last - limit) : max(0, last)][::-1], span)

    async def get_user(self, user_id: str) -> User | None:
        return self._user(user_id) if user_id in self._users else None

    async def upsert_user(self, user_id: str, name: str, email: str) -> User:
        try:
            "".join((user_id, name, email)).encode()
        except UnicodeEncodeError as error:
            raise Unstorable(str(error)) from error
        self._know(user_id)
        self._users[user_id] = (name, email)
        return self._user(user_id)

    async def list_users(self, after_id: str, limit: int) -> list[User]:
        start = bisect_right(self._user_ids, after_id)
        return [self._user(user_id) for user_id in self._user_ids[start : start + limit]]

    def set_active(self, user_id: str, active: bool) -> None:
        (self._active.add if active else self._active.discard)(user_id)

    async def close(self) -> None:
        await asyncio.sleep(0)  # messages of this turn are announced in the next

    def _append(self, message: ChatMessage) -> ChatMessage | Unstorable:
        try:
            codec.encode(message)
        except UnicodeEncodeError as error:
            return Unstorable(str(error))
        key = (message.room_id, message.sender_id, message.id)
        original = self._keys.get(key)
        if original is not None:
            return original
        room = self._rooms.setdefault(message.room_id, [])
        message.seq = len(room) + 1
        message.sent_at = from_micros(self._stamps.next())
        room.append(message)
        self._keys[key] = message
        self._know(message.sender_id)
        return message

    def _know(self, user_id: str) -> None:
        if user_id not in self._users:
            self._users[user_id] = (user_id, "")
            insort(self._user_ids, user_id)

    def _finish(
        self,
        future: asyncio.Future[list[ChatMessage]],
        messages: Sequence[ChatMessage],
        results: Sequence[ChatMessage | StoreError],
    ) -> None:
        fresh = [sent for sent, each in zip(messages, results, strict=True) if each is sent]
        if fresh:
            self._metrics.stored += len(fresh)
            self._announce(fresh)
        finish(future, results)

    def _user(self, user_id: str) -> User:
        name, email = self._users[user_id]
        return make_user(user_id, name, email, user_id in self._active)
