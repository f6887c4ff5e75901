"""The jobs of the writer thread, their futures, and how many of them the event loop lags behind."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from chat.errors import ChatError
from chat.storage.base import StoreError
from chat.storage.changes import Change, extra_of
from chat.storage.sqlite.asks import Answer, Forgetting, Reading, Setting
from chat.storage.sqlite.journal import UserRow
from codec.columns import utf8_length
from gen.chat import ChatMessage

T = TypeVar("T")

# The memory of a message beside its text, with all that is kept about it on its way.
_MESSAGE_OVERHEAD: Final = 1024


class Append:
    """Messages to store, and the future of their result.

    Attributes:
        size: the bytes that they take in the queue, roughly.
        has_extras: whether some of them may have an extra.
    """

    __slots__ = ("future", "has_extras", "messages", "size")

    def __init__(
        self, messages: Sequence[ChatMessage], future: asyncio.Future[list[ChatMessage]]
    ) -> None:
        self.messages = messages
        self.future = future
        # All texts at once: this is done for each message.
        texts = "".join([message.content for message in messages])
        self.size = len(messages) * _MESSAGE_OVERHEAD + utf8_length(texts)
        self.has_extras = False
        for message in [each for each in messages if each.held_extra is not None]:
            self.size += self._size_of_extra(message)

    def _size_of_extra(self, message: ChatMessage) -> int:
        extra = extra_of(message)
        if extra is None:
            return 0
        self.has_extras = True
        names = sum(map(len, extra.mentions))
        return _MESSAGE_OVERHEAD + utf8_length(extra.data) + names


class Upsert:
    """A user to store, and the future of its result.

    Attributes:
        size: the bytes that it takes in the queue, roughly.
    """

    __slots__ = ("future", "size", "user")
    has_extras = False

    def __init__(self, user: UserRow, future: asyncio.Future[None]) -> None:
        self.user = user
        self.future = future
        self.size = _MESSAGE_OVERHEAD


class Changing:
    """Changes that came together, and the future of what became of each.

    Attributes:
        size: the bytes that they take in the queue, roughly.
    """

    __slots__ = ("changes", "future", "size")
    has_extras = False

    def __init__(
        self, changes: Sequence[Change], future: asyncio.Future[Sequence[ChatMessage | Exception]]
    ) -> None:
        self.changes = changes
        self.future = future
        self.size = len(changes) * _MESSAGE_OVERHEAD
        for each in changes:
            asked = each.request.change
            if asked and isinstance(asked, str):
                self.size += utf8_length(asked)


class Asking:
    """Something that is asked beside all that, and the future of its answer.

    Attributes:
        size: the bytes that it takes in the queue, roughly.
    """

    __slots__ = ("ask", "future", "size")
    has_extras = False

    def __init__(self, ask: Reading | Forgetting | Setting, future: asyncio.Future[Any]) -> None:
        self.ask = ask
        self.future = future
        self.size = _MESSAGE_OVERHEAD
        if isinstance(ask, Setting):
            self.size += utf8_length(ask.room.topic)


class Settle:
    """To fold all that is in the journal, and the future of that."""

    __slots__ = ("future", "size")
    has_extras = False

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.size = 0


Job = Append | Upsert | Changing | Asking | Settle


def end(future: asyncio.Future[T], result: T) -> None:
    """Ends a future with a result, unless it was cancelled."""
    if not future.done():
        future.set_result(result)


def answer(future: asyncio.Future[Any], result: Answer | StoreError) -> None:
    """Ends a future with the answer to what was asked, unless it was cancelled."""
    if isinstance(result, Exception):
        fail(future, result)
    else:
        end(future, result)


def fail(future: asyncio.Future[Any], failure: StoreError | ChatError) -> None:
    """Ends a future with an error, unless it was cancelled."""
    if not future.done():
        future.set_exception(failure)


class Backlog:
    """The bytes of commits that the event loop has not heard of.

    An event loop that was held up hears of all of them in one turn, and the readers of a
    room get all that is theirs at once: more than may wait for a reader must not come
    together meanwhile.

    Args:
        limit: how many bytes they may be; a commit larger than that is alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._shrunk = threading.Condition()

    def add(self, size: int) -> None:
        """Waits until there is room for a commit; the writer calls it before each."""
        with self._shrunk:
            while self._bytes and self._bytes + size > self._limit:
                self._shrunk.wait()
            self._bytes += size

    def remove(self, size: int) -> None:
        """Removes a commit; the event loop calls it when it has heard of it."""
        with self._shrunk:
            self._bytes -= size
            self._shrunk.notify()
