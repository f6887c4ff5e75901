"""The journal: the writes of a commit, and their way into the table of messages.

Why there is one. To insert a message into its table changes a page of its room and one of
the index by ids, and SQLite writes each changed page to its log as a whole. With many active
rooms that is most of the work. So a commit appends all its messages as one row of `journal`,
a few kilobytes at the end of one table, and they are moved later, many at a time.

Two generations of messages are in the journal at a time, in memory too::

    current     commits append to it, until it has 2 MiB
    folding     sorted by position, moved into `messages` a slice at a time, between commits;
                with the last slice its rows are deleted from `journal`

- A slice is a transaction of its own. While commits are waiting, slices are made as fast as
  the current generation grows (`is_due`); with four times 2 MiB, commits wait for slices.
- A fold may be repeated. A message that is in the table already is left as it is, so a
  crash at any point leaves rows that are folded again at the next start.
- Another message at a position, or a journal with rows that this writer did not append, is
  the work of a second writer: `HistoryConflict`, and nothing is stored any more.
- Once: a commit's statement also looks whether one of its messages is in the table; those in
  the journal are known in memory. Only if one is, the whole commit is made anew without it.
- `seq` is given here: the last one of a room is looked up once, then counted in memory.
- A message that is edited or deleted while it is here is known by what it has become, as a
  repeat of it gets that back. Its text is in `states` then: its row is folded without one, and
  the journal forgets the old one as it is folded (see `fold`, also for a crash before).

SQLite gives Python's lock up around each statement, and taking it back may mean to
wait for a busy event loop. So a commit is one statement wherever it can be.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import apsw
import orjson

from chat.storage.base import MessageKey, key_of
from chat.storage.results import stored_message
from chat.storage.sqlite.asks import NOTHING_TOLD, Answer, RoomHead, Told
from chat.storage.sqlite.batch import CommitBatch
from chat.storage.sqlite.fold import Fold, HistoryConflict
from chat.storage.sqlite.schema import read_last_sent_at
from chat.storage.sqlite.states import query, with_state
from chat.storage.sqlite.transactions import transaction
from chat.storage.stamps import Clock, Stamps, from_micros
from gen.chat import ChatMessage

# How many bytes of JSON are folded together: the more, the fewer pages are written
# for each message, and the more memory they take until then.
FOLD_BYTES: Final = 2 * 1024 * 1024
# With so many times more in the journal, nothing is stored before something was folded.
_FULL: Final = 4
_CACHED_NAMES: Final = 100_000

_APPEND: Final = """
INSERT INTO journal (batch) SELECT ?1 WHERE NOT EXISTS (
    SELECT 1 FROM jsonb_each(?1) AS new CROSS JOIN messages
    WHERE position >> 32 = (new.value ->> 0) >> 32
      AND sender_id = new.value ->> 1 AND messages.id = new.value ->> 2
)
"""
_FIND: Final = """
SELECT json_group_array(json_array(
    new.key, position & 0xffffffff, sent_at, coalesce(states.content, messages.content),
    hex(extra), hex(state)
))
FROM json_each(?) AS new CROSS JOIN rooms CROSS JOIN messages LEFT JOIN states USING (position)
WHERE room_id = new.value ->> 0 AND position >> 32 = +room
  AND sender_id = new.value ->> 1 AND messages.id = new.value ->> 2
"""
_NEWEST: Final = """
SELECT changes, beside, coalesce(
    (SELECT position FROM messages WHERE position BETWEEN room << 32 AND room << 32 | 0xffffffff
     ORDER BY position DESC LIMIT 1),
    room << 32
) FROM rooms WHERE room_id = ?
"""

UserRow = tuple[str, str, str, int]
"""A row of `users`: user_id, name, email, tone."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The result of a commit.

    Attributes:
        stored: as `Store.append` returns them, for each call of it.
        fresh: the messages that were not stored before, in order.
        answers: to what else was asked, in order.
        told: what is announced beside the messages.
        has_written: whether it shows that the disk takes writes.
    """

    stored: list[list[ChatMessage]]
    fresh: list[ChatMessage]
    answers: Sequence[Answer] = ()
    told: Told = NOTHING_TOLD
    has_written: bool = True


class Staged(NamedTuple):
    """What the journal wrote in a transaction that may still fail.

    Attributes:
        batch: its messages.
        stored: as `Commit.stored`.
        size: the bytes that they take in the journal.
        nth: the number of their row, if there is one.
        senders: of whom it was not known that they are stored.
        heads: of rooms that it looked up.
    """

    batch: CommitBatch
    stored: list[list[ChatMessage]]
    size: int
    nth: int
    senders: set[str]
    heads: dict[str, RoomHead]


class RepeatedError(Exception):
    """Some message of the commit was stored before."""


class Journal:
    """Commits and folds, by the writer thread and on its connection.

    Args:
        connection: from `schema.open_writer`, and through `fold.fold_leftovers`.
        fold_bytes: how much is folded together, roughly.
        clock: the wall clock.

    Attributes:
        generation: goes up when a fold begins; messages stored from then on belong to
            a later one.
    """

    def __init__(
        self, connection: apsw.Connection, fold_bytes: int, clock: Clock = time.time_ns
    ) -> None:
        self.generation = 0
        self._connection = connection
        self._fold_bytes = fold_bytes
        # The row ids of the newest messages. A room of which something is in the journal is
        # always among them.
        self._last_row_ids: dict[str, int] = {}
        self._known_users: set[str] = set()
        self._stamps = Stamps(clock, read_last_sent_at(connection))
        self._current = Fold()
        self._folding: Fold | None = None

    def store(self, appends: Sequence[Sequence[ChatMessage]], users: Sequence[UserRow]) -> Commit:
        """Stores messages and users, all of them or none.

        Args:
            appends: the messages, in the order in which they are to be stored.
            users: created or replaced.

        Raises:
            HistoryConflict: somebody else writes to the database.
            apsw.Error: nothing was stored.
        """
        self.make_room()
        try:
            staged = self.stage(appends, users, {})
        except RepeatedError:
            staged = self.stage(appends, users, self.find(appends))
        self.note(staged)
        told = Told(staged.heads) if staged.heads else NOTHING_TOLD
        return Commit(staged.stored, list(staged.batch.fresh.values()), told=told)

    def make_room(self) -> None:
        """Folds until more may be appended.

        Raises:
            HistoryConflict: the table has another message at a position.
            apsw.Error: it could not.
        """
        while self._size() >= self._fold_bytes * _FULL:
            self.fold()

    def is_due(self, *, idle: bool) -> bool:
        """Whether a slice should be folded now.

        Args:
            idle: whether nothing waits to be stored. While something always does, a
                generation is folded as fast as the next one grows.
        """
        fold, size = self._folding, self._current.size
        if fold is None:
            return size >= self._fold_bytes * (1 if idle else 2)
        return idle or size * len(fold.rows) > self._fold_bytes * fold.done

    def is_empty(self) -> bool:
        """Whether nothing is left to be folded."""
        return not self._size()

    def is_folded(self, generation: int) -> bool:
        """Whether all messages of a generation, and of those before it, are in the table."""
        return self.is_empty() or generation < self.generation - (self._folding is not None)

    def fold(self) -> bool:
        """Begins to fold the journal, or goes on with it, by one slice.

        Returns:
            Whether the whole generation is in the table now.

        Raises:
            HistoryConflict: the table has another message at a position.
            apsw.Error: the slice was not folded.
        """
        if self._folding is None:
            self._folding, self._current = self._current, Fold()
            self._folding.begin()
            self.generation += 1
        if self._folding.fold_slice(self._connection):
            return False
        self._folding = None
        self._trim_caches()
        return True

    def _size(self) -> int:
        return self._current.size + (self._folding.size if self._folding else 0)

    def stage(
        self,
        appends: Sequence[Sequence[ChatMessage]],
        users: Sequence[UserRow],
        stored: Mapping[MessageKey, ChatMessage],
    ) -> Staged:
        """Writes messages and users, all of them or none, perhaps in an open transaction.

        Args:
            appends: the messages, in the order in which they are to be stored.
            users: created or replaced.
            stored: those of the messages that are in the table already.

        Raises:
            RepeatedError: others of them are; nothing is to be kept.
            apsw.Error: likewise.
        """
        rooms, senders = _names(appends)
        senders -= self._known_users
        if users or senders or not rooms <= self._last_row_ids.keys():
            with transaction(self._connection):
                heads: dict[str, RoomHead] = {}
                last_row_ids = {room_id: self._last_row_id(room_id, heads) for room_id in rooms}
                self._add_users(senders)
                self._replace_users(users)
                return self._append(appends, last_row_ids, stored, senders, heads)
        last_row_ids = {room_id: self._last_row_ids[room_id] for room_id in rooms}
        return self._append(appends, last_row_ids, stored, senders, {})

    def note(self, staged: Staged) -> None:
        """Takes note of what was written: now that all of it is on disk.

        Raises:
            HistoryConflict: somebody else writes to the database.
        """
        batch = staged.batch
        self._known_users |= staged.senders
        self._last_row_ids.update(batch.last_row_ids)
        if batch.rows:
            self._current.rows += batch.rows
            self._current.messages |= batch.fresh
            self._current.size += staged.size
            self._current.last = self._checked(staged.nth)
            self._current.sent_at = batch.sent_at

    def find(self, appends: Sequence[Sequence[ChatMessage]]) -> dict[MessageKey, ChatMessage]:
        """Returns those of messages that are in the table, as they stand."""
        keys = [key_of(message) for messages in appends for message in messages]
        return {
            keys[number]: with_state(
                stored_message(keys[number], seq, from_micros(sent_at), content), extra, state
            )
            for number, seq, sent_at, content, extra, state in query(self._connection, _FIND, keys)
        }

    def message_at(self, room_id: str, position: int) -> ChatMessage | None:
        """Returns a message as it stands, if it is still in the journal."""
        for fold in (self._current, self._folding):
            if fold is not None and (row := fold.row_at(position)):
                return fold.messages[room_id, row[1], row[2]]
        return None

    def replace(self, message: ChatMessage, position: int, *, has_new_text: bool) -> None:
        """Takes note of what became of a message, if it is still in the journal."""
        key = key_of(message)
        for fold in (self._current, self._folding):
            if fold is not None and key in fold.messages:
                fold.messages[key] = message
                if has_new_text:
                    fold.textless.add(position)

    def next_time(self) -> int:
        """Returns the time of a commit, in microseconds since 1970."""
        return self._stamps.next()

    def forget_user(self, user_id: str) -> None:
        """Looks the next time whether a user is stored."""
        self._known_users.discard(user_id)

    def _append(
        self,
        appends: Sequence[Sequence[ChatMessage]],
        last_row_ids: dict[str, int],
        stored: Mapping[MessageKey, ChatMessage],
        senders: set[str],
        heads: dict[str, RoomHead],
    ) -> Staged:
        folding = self._folding.messages if self._folding else {}
        batch = CommitBatch(
            last_row_ids, (self._current.messages, folding, stored), self._stamps.next()
        )
        results = [batch.add(messages) for messages in appends]
        if not batch.rows:
            return Staged(batch, results, 0, 0, senders, heads)
        rows = orjson.dumps(batch.rows)
        self._connection.execute(_APPEND, (rows.decode(),))
        if not self._connection.changes():
            raise RepeatedError
        nth = self._connection.last_insert_rowid()
        return Staged(batch, results, len(rows), nth, senders, heads)

    def _checked(self, nth: int) -> int:
        """Returns the number of the row that was appended: the next one, if nobody else writes."""
        before = self._current.last or (self._folding.last if self._folding else 0)
        if nth != before + 1:
            raise HistoryConflict(f"row {nth} of the journal follows on row {before}")
        return nth

    def _last_row_id(self, room_id: str, heads: dict[str, RoomHead]) -> int:
        if room_id in self._last_row_ids:
            return self._last_row_ids[room_id]
        execute = self._connection.execute
        execute("INSERT OR IGNORE INTO rooms (room_id) VALUES (?)", (room_id,))
        [(changes, has_states, last)] = execute(_NEWEST, (room_id,))
        heads[room_id] = RoomHead(changes, bool(has_states))
        return int(last)

    def _add_users(self, senders: Iterable[str]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO users (user_id, name, email) VALUES (?, ?, '')",
            [(user, user) for user in senders],
        )

    def _replace_users(self, users: Sequence[UserRow]) -> None:
        self._connection.executemany(
            "INSERT INTO users (user_id, name, email, tone) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE"
            " SET name = excluded.name, email = excluded.email, tone = excluded.tone",
            users,
        )

    def _trim_caches(self) -> None:
        if len(self._last_row_ids) > _CACHED_NAMES:
            needed = {room_id for room_id, _, _ in self._current.messages}
            self._last_row_ids = {room_id: self._last_row_ids[room_id] for room_id in needed}
        if len(self._known_users) > _CACHED_NAMES:
            self._known_users.clear()


def _names(appends: Sequence[Sequence[ChatMessage]]) -> tuple[set[str], set[str]]:
    """Returns the rooms and the senders."""
    rooms: set[str] = set()
    senders: set[str] = set()
    for messages in appends:
        for message in messages:
            rooms.add(message.room_id)
            senders.add(message.sender_id)
    return rooms, senders
