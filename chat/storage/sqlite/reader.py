"""Look-ups and pages, on connections of their own, in threads of their own.

Each query returns one row, with JSON in it where it has many: a thread that
shares the interpreter's lock with a busy event loop may wait for it at each row.
"""

import asyncio
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import apsw
import orjson

from chat.storage.base import PAGE_BYTES, Range, StoreError
from chat.storage.extras import give
from chat.storage.results import stored_message
from chat.storage.sqlite.journal import UserRow
from chat.storage.sqlite.states import blob_from
from chat.storage.stamps import from_micros
from gen.chat import ChatMessage

_THREADS: Final = 2
_END: Final = 1 << 32
# So few messages are read without a look at how long they are.
_FEW: Final = 64

# In whatever order they are: sorting them here takes less time than there.
_ROWS: Final = """
SELECT json_group_array(json_array(position & 0xffffffff, id, sender_id, content, sent_at))
FROM ({page})
"""
# With what some of them have beside their texts, and the texts of those that were edited.
_CURRENT_ROWS: Final = """
SELECT '[' || found || ',' || (
    SELECT json_group_array(json_array(position & 0xffffffff, content, hex(extra), hex(state)))
    FROM states WHERE position BETWEEN first AND last
) || ']'
FROM (
    SELECT
        json_group_array(json_array(position & 0xffffffff, id, sender_id, content, sent_at))
            AS found,
        min(position) AS first, max(position) AS last
    FROM ({page})
)
"""
_SIZES: Final = """
SELECT json_group_array(octets ORDER BY nth)
FROM (SELECT octets, row_number() OVER () AS nth FROM ({page}))
"""
_PAGE: Final = """
    SELECT {columns} FROM messages
    WHERE position > (SELECT room << 32 FROM rooms WHERE room_id = ?1) + ?2
      AND position < (SELECT room << 32 FROM rooms WHERE room_id = ?1) + ?3
    ORDER BY position {direction} LIMIT ?4
"""
# SQLite has the length of a text beside it: no text is read.
_SIZE: Final = "octet_length(content) AS octets"
_CURRENT_SIZE: Final = (
    "coalesce((SELECT coalesce(octet_length(states.content), 0)"
    " + coalesce(octet_length(extra), 0) + coalesce(octet_length(state), 0)"
    " FROM states WHERE states.position = messages.position), 0)"
    " + octet_length(content) AS octets"
)


class _Statements(NamedTuple):
    """The queries of a page in one direction.

    Attributes:
        sizes: how many bytes of text each of them has.
    """

    rows: str
    sizes: str


def _statements(direction: str, rows: str, size: str) -> _Statements:
    return _Statements(
        rows.format(page=_PAGE.format(columns="*", direction=direction)),
        _SIZES.format(page=_PAGE.format(columns=size, direction=direction)),
    )


_FORWARD: Final = _statements("ASC", _ROWS, _SIZE)
_BACKWARD: Final = _statements("DESC", _ROWS, _SIZE)
_CURRENT_FORWARD: Final = _statements("ASC", _CURRENT_ROWS, _CURRENT_SIZE)
_CURRENT_BACKWARD: Final = _statements("DESC", _CURRENT_ROWS, _CURRENT_SIZE)

_HEAD: Final = """
SELECT position & 0xffffffff FROM messages
WHERE position > (SELECT room << 32 FROM rooms WHERE room_id = ?1)
  AND position < (SELECT (room + 1) << 32 FROM rooms WHERE room_id = ?1)
ORDER BY position DESC LIMIT 1
"""

_SOME_USERS: Final = """
SELECT json_group_array(json_array(user_id, name, email, tone))
FROM json_each(?) AS new CROSS JOIN users WHERE user_id = new.value
"""

# Whether something is stored at or behind a position, and nothing right before it.
_BROKEN_OFF: Final = """
SELECT EXISTS (
    SELECT 1 FROM messages
    WHERE position >= (SELECT room << 32 FROM rooms WHERE room_id = ?1) + ?2
      AND position < (SELECT (room + 1) << 32 FROM rooms WHERE room_id = ?1)
) AND NOT EXISTS (
    SELECT 1 FROM messages
    WHERE position = (SELECT room << 32 FROM rooms WHERE room_id = ?1) + ?2 - 1
)
"""

_ANYTHING: Final = "SELECT count(*) FROM sqlite_schema"
_USER: Final = "SELECT json_array(user_id, name, email, tone) FROM users WHERE user_id = ?"
_USERS: Final = """
SELECT json_group_array(json_array(user_id, name, email, tone) ORDER BY user_id)
FROM (SELECT * FROM users WHERE user_id > ? ORDER BY user_id LIMIT ?)
"""

# As JSON has them: position, id, sender_id, content, sent_at.
_Row = Sequence[Any]
# And position, content if it was edited, extra, state.
_StateRow = Sequence[Any]

_SEQ: Final = itemgetter(0)

# The latter where a damaged row is no text, no time or of another type.
_UNREADABLE: Final = (apsw.Error, ValueError, TypeError, OverflowError)

T = TypeVar("T")


class Readers:
    """A few threads, each with a read-only connection."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="sqlite-reader")

    async def start(self) -> None:
        """Starts the threads and opens their connections.

        So what is lacking for them is missed at the start, and not by somebody who asks.

        Raises:
            RuntimeError: a thread cannot be started.
            apsw.Error: a connection cannot be opened.
        """
        loop, all_there = asyncio.get_running_loop(), threading.Barrier(_THREADS)

        def begin() -> None:
            all_there.wait()  # so each thread has one to begin
            self.one(_ANYTHING, ())  # opens all of its files

        begun: list[asyncio.Future[None]] = []
        try:
            begun.extend(loop.run_in_executor(self._executor, begin) for _ in range(_THREADS))
        except RuntimeError:
            all_there.abort()
            await asyncio.gather(*begun, return_exceptions=True)
            raise
        await asyncio.gather(*begun)

    async def last_seq(self, room_id: str) -> int:
        """Returns the newest position of a room, or 0."""
        found = await self.run(lambda: self.one(_HEAD, (room_id,)))
        return found if isinstance(found, int) else 0

    async def messages(
        self, room_id: str, span: Range, last_seq: int, *, has_states: bool
    ) -> list[ChatMessage]:
        """Returns up to `span.limit` messages of a room, in the direction of paging.

        Args:
            room_id: the room.
            span: which of them; not those that may be missing in the table.
            last_seq: that of the newest message, if it is known, or 0.
            has_states: whether messages of the room may have more than their texts.
        """
        return await self.run(lambda: self._messages(room_id, span, last_seq, has_states))

    async def user(self, user_id: str) -> UserRow | None:
        """Returns a user's id, name and e-mail address."""
        row = await self.run(lambda: self.row(_USER, user_id))
        return None if row is None else _user_row(row)

    async def users(self, after_id: str, limit: int) -> list[UserRow]:
        """Returns the users behind `after_id`."""
        rows = await self.run(lambda: self.row(_USERS, after_id, limit))
        return list(map(_user_row, rows))

    async def some_users(self, user_ids: Sequence[str]) -> list[UserRow]:
        """Returns those of some users that are stored."""
        asked = orjson.dumps(user_ids).decode()
        rows = await self.run(lambda: self.row(_SOME_USERS, asked))
        return list(map(_user_row, rows))

    async def close(self) -> None:
        """Ends the threads and closes their connections."""
        await asyncio.to_thread(self._executor.shutdown)
        for connection in self._connections:
            connection.close()

    async def run(self, read: Callable[[], T]) -> T:
        """Reads in one of the threads.

        Raises:
            StoreError: it could not.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, read)
        except _UNREADABLE as error:
            raise StoreError(str(error)) from error

    def connection(self) -> apsw.Connection:
        """Returns the connection of this thread."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Read-only, so that only the writer ever checkpoints.
            connection = apsw.Connection(self._path, flags=apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(5000)
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def one(self, sql: str, bindings: tuple[str | int, ...]) -> object:
        """Returns the first value of the first row, or `None`; in one of the threads."""
        return self.connection().execute(sql, bindings).get

    def row(self, sql: str, *bindings: str | int) -> Any:
        """Returns the same where it is JSON: what that says."""
        found = self.one(sql, bindings)
        return None if found is None else orjson.loads(str(found))

    def _messages(
        self, room_id: str, span: Range, last_seq: int, has_states: bool
    ) -> list[ChatMessage]:
        after = min(span.after_seq or 0, _END)
        before = _END if span.before_seq is None else span.before_seq
        forward = span.after_seq is not None
        if has_states:
            page = _CURRENT_FORWARD if forward else _CURRENT_BACKWARD
        else:
            page = _FORWARD if forward else _BACKWARD
        limit, found = self._rows(page, room_id, after, before, span.limit)
        rows, states = found if has_states else (found, ())
        rows.sort(key=_SEQ, reverse=not forward)
        # Positions have no gaps, from 1 on: one that does not follow is damage.
        seqs = [row[0] for row in rows]
        if forward:
            newest = after + len(rows)
            is_whole = seqs == list(range(after + 1, newest + 1))
            goes_on = len(rows) < limit
        else:
            newest = seqs[0] if seqs else 0
            is_whole = seqs == list(range(newest, max(0, newest - limit), -1))
            goes_on = True
        if goes_on and newest < before - 1:
            is_whole = is_whole and not self._is_broken_off(room_id, before, last_seq)
        if not is_whole:
            raise ValueError(f"room {room_id!r}: a position is missing or out of order")
        messages = [_message(room_id, row) for row in rows]
        if states:
            _complete(messages, states)
        return messages

    def _rows(
        self, page: _Statements, room_id: str, after: int, before: int, limit: int
    ) -> tuple[int, list[Any]]:
        """Returns how many rows were asked for, and those there are, as the statement has them.

        Of many, at the most one more is read than fits into a page.
        """
        if limit <= _FEW:
            return limit, self.row(page.rows, room_id, after, before, limit)
        with self.connection():  # both as of one moment
            sizes = self.row(page.sizes, room_id, after, before, limit)
            # The first one is in the page however large it is.
            fitting = max(1, bisect_right(list(accumulate(sizes)), PAGE_BYTES))
            limit = min(limit, fitting + 1)
            rows = self.row(page.rows, room_id, after, before, limit)
        return limit, rows

    def _is_broken_off(self, room_id: str, before: int, last_seq: int) -> bool:
        """Whether there should be something right before a position, where nothing was found."""
        if before == _END:
            return False
        return before <= last_seq or bool(self.one(_BROKEN_OFF, (room_id, before)))


def _message(room_id: str, row: _Row) -> ChatMessage:
    seq, message_id, sender_id, content, sent_at = row
    return stored_message((room_id, sender_id, message_id), seq, from_micros(sent_at), content)


def _complete(messages: Sequence[ChatMessage], states: Sequence[_StateRow]) -> None:
    """Gives messages what they have beside their texts, and the texts of those that were edited."""
    first = messages[0].seq
    found = [messages[abs(row[0] - first)] for row in states]
    for message, row in zip(found, states, strict=True):
        if row[1] is not None:
            message.content = row[1]
    give(found, [blob_from(row[2]) for row in states], [blob_from(row[3]) for row in states])


def _user_row(row: list[Any]) -> UserRow:
    user_id, name, email, tone = row
    return user_id, name, email, tone
