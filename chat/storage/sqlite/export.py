"""All that a file holds, in order, for a database of another kind.

Nobody else may have the file open. Nothing in it is changed, and nothing is made beside it but
the lock of that: what is still in the journal, or in a log that a killed server left, is read
from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from heapq import merge
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw
import orjson

from chat.storage.base import StoreUnusable
from chat.storage.sqlite.claim import Claim
from chat.storage.sqlite.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    SEQ_BITS,
    SEQ_MASK,
    read_epoch,
)
from chat.storage.sqlite.wal import is_damaged

_MESSAGES: Final = """
SELECT position, sender_id, id, sent_at, content FROM messages WHERE position > ? ORDER BY position
"""
# As they stand: what was edited or deleted has no text anywhere else.
_CURRENT_MESSAGES: Final = """
SELECT position, sender_id, id, sent_at, coalesce(states.content, messages.content)
FROM messages LEFT JOIN states USING (position) WHERE position > ? ORDER BY position
"""
_JOURNAL: Final = "SELECT batch FROM journal ORDER BY nth"
_CONTENT: Final = "SELECT content FROM states WHERE position = ?"
_ROOMS: Final = "SELECT room, room_id FROM rooms"
_CHANGES: Final = "SELECT room, changes FROM rooms WHERE changes > 0"
_STATES: Final = """
SELECT position, coalesce(change, 0) & 0xffffffff, text_change, extra, state
FROM states WHERE position > ? AND position & 0xffffffff > 0 ORDER BY position
"""
# The room itself is in the place of a message 0.
_INFOS: Final = """
SELECT room, state FROM rooms CROSS JOIN states ON position = room << 32 ORDER BY room
"""
_REACTIONS: Final = """
SELECT position, emoji, change, user_id FROM reactions
WHERE position > ? ORDER BY position, emoji, change
"""
_MENTIONS: Final = "SELECT user_id, position, sender_id FROM mentions ORDER BY user_id, position"
_MARKS: Final = "SELECT user_id, room, read_seq FROM marks ORDER BY user_id, room"
_ERASURES: Final = "SELECT user_id FROM erasures ORDER BY user_id"
_USERS: Final = "SELECT user_id, name, email, {tone} FROM users WHERE user_id > ? ORDER BY user_id"


# The version of files in which nothing became of a message.
_BEFORE_STATES: Final = 2
# The version of files in which users had no colour.
_BEFORE_TONES: Final = 3


class StoredMessage(NamedTuple):
    """A message as it is stored.

    Attributes:
        room: the number of the room in the file.
        sent_at: in microseconds since 1970.
        content: its text as it stands; empty if it was deleted.
    """

    room: int
    seq: int
    sent_at: int
    sender_id: str
    id: str
    content: str


StoredUser = tuple[str, str, str, int]
"""user_id, name, email, tone."""


class StoredState(NamedTuple):
    """What a message has beside its text.

    Attributes:
        room: the number of the room in the file.
        change: the number of its last change; 0 if it never changed.
        text_change: that of the last change of its text, or 0.
        extra: an encoded `MessageExtra` without its state, if it has any.
        state: an encoded `MessageState`, if it ever changed.
    """

    room: int
    seq: int
    change: int
    text_change: int
    extra: bytes | None
    state: bytes | None


class StoredInfo(NamedTuple):
    """What is known of a room beside its messages.

    Attributes:
        room: the number of the room in the file; it need not have messages.
        info: an encoded `Room`, with the number of the change that made it so.
    """

    room: int
    info: bytes


class StoredReaction(NamedTuple):
    """A user's reaction to a message, and the change by which it came."""

    room: int
    seq: int
    emoji: str
    change: int
    user_id: str


class StoredMention(NamedTuple):
    """A message that is for a user, or, if that is empty, for everyone in its room."""

    user_id: str
    room: int
    seq: int
    sender_id: str


class StoredMark(NamedTuple):
    """How far a user has read a room."""

    user_id: str
    room: int
    seq: int


class Source:
    """A file, open for reading. Made by `open`.

    Attributes:
        epoch: the name of its history.
        rooms: their ids, by their numbers.
        changes: of rooms in which messages changed, the number of the newest change.
    """

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection
        version = connection.pragma("user_version")
        self._has_states = version > _BEFORE_STATES
        self._users = _USERS.format(tone="tone" if version > _BEFORE_TONES else "0")
        self._journal = sorted(self._read_journal()) if version > 1 else []
        self.epoch = read_epoch(connection)
        self.rooms = {int(str(room)): str(room_id) for room, room_id in connection.execute(_ROOMS)}
        self.changes: dict[int, int] = dict(self._rows(_CHANGES))

    @classmethod
    def open(cls, path: Path, undo: ExitStack) -> Self:
        """Opens a file until `undo` is closed.

        Raises:
            StoreUnusable: it cannot be read; the text says why.
        """
        try:
            return cls._open(path, undo)
        except apsw.Error as error:
            raise _unreadable(path, error) from error
        except OSError as error:
            raise StoreUnusable(f"cannot read {path}: {error.strerror}") from error

    @classmethod
    def _open(cls, path: Path, undo: ExitStack) -> Self:
        if not path.is_file():
            raise StoreUnusable(f"cannot read {path}: there is no such file")
        claim = Claim(str(path))
        undo.callback(claim.close)
        log = Path(f"{claim.real}-wal")
        has_log = log.exists() and log.stat().st_size > 0
        if path.stat().st_nlink > 1 and not has_log:
            raise StoreUnusable(
                f"{path} has other names (hard links), and what was confirmed last may lie beside"
                " one of them: give the name by which the server opens it, or remove the others"
            )
        if is_damaged(claim.real):
            raise StoreUnusable(f"the write-ahead log of {path} is damaged: restore a backup first")
        # Without a log no file is made beside it then.
        uri = f"{Path(claim.real).as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(uri, flags=flags)
        undo.callback(connection.close)
        if connection.pragma("application_id") != APPLICATION_ID:
            raise StoreUnusable(f"{path} is not a database of this program")
        version = connection.pragma("user_version")
        if version > len(MIGRATIONS):
            raise StoreUnusable(
                f"{path} has version {version}: use a newer version of this program"
            )
        return cls(path, connection)

    def count_messages(self) -> int:
        """Returns how many there are, roughly: some may be in two places."""
        found = self._connection.execute("SELECT count(*) FROM messages").get
        return int(found) + len(self._journal)

    def users(self, after: str) -> Iterator[StoredUser]:
        """The users whose ids sort after one, in the order of ids.

        Raises:
            StoreUnusable: they cannot be read.
        """
        try:
            yield from self._connection.execute(self._users, (after,))
        except (apsw.Error, UnicodeDecodeError) as error:
            raise _unreadable(self._path, error) from error

    def messages(self, room: int = 0, seq: int = 0) -> Iterator[StoredMessage]:
        """The messages behind one of a room, in the order of rooms and in each of `seq`.

        Raises:
            StoreUnusable: one cannot be read, or is missing.
        """
        last = after = room << SEQ_BITS | seq
        try:
            for row in merge(
                self._connection.execute(
                    _CURRENT_MESSAGES if self._has_states else _MESSAGES, (after,)
                ),
                (row for row in self._journal if row[0] > after),
            ):
                position = row[0]
                if position == last:
                    continue  # on its way from the journal
                room, seq = position >> SEQ_BITS, position & SEQ_MASK
                expected = (last & SEQ_MASK) + 1 if room == last >> SEQ_BITS else 1
                if seq != expected or room not in self.rooms:
                    name = self.rooms.get(room)
                    raise StoreUnusable(
                        f"{self._path} is damaged: message {expected} of room {name!r} is missing"
                    )
                last = position
                yield _message(row)
        except (apsw.Error, ValueError, TypeError) as error:
            raise _unreadable(self._path, error) from error

    def states(self, room: int = 0, seq: int = 0) -> Iterator[StoredState]:
        """What messages behind one have beside their texts, in the order of `messages`.

        Raises:
            StoreUnusable: it cannot be read.
        """
        for position, *rest in self._rows(_STATES, room << SEQ_BITS | seq):
            yield StoredState(position >> SEQ_BITS, position & SEQ_MASK, *rest)

    def infos(self) -> Iterator[StoredInfo]:
        """What is known of rooms that were ever set, in the order of rooms.

        Raises:
            StoreUnusable: it cannot be read.
        """
        return (StoredInfo(*row) for row in self._rows(_INFOS))

    def reactions(self, room: int = 0, seq: int = 0) -> Iterator[StoredReaction]:
        """The reactions to messages behind one, in the order of `messages`.

        Raises:
            StoreUnusable: they cannot be read.
        """
        for position, *rest in self._rows(_REACTIONS, room << SEQ_BITS | seq):
            yield StoredReaction(position >> SEQ_BITS, position & SEQ_MASK, *rest)

    def mentions(self) -> Iterator[StoredMention]:
        """The messages that are for somebody, in the order of users.

        Raises:
            StoreUnusable: they cannot be read.
        """
        for user_id, position, sender_id in self._rows(_MENTIONS):
            yield StoredMention(user_id, position >> SEQ_BITS, position & SEQ_MASK, sender_id)

    def marks(self) -> Iterator[StoredMark]:
        """How far users have read, in the order of users.

        Raises:
            StoreUnusable: it cannot be read.
        """
        return (StoredMark(*row) for row in self._rows(_MARKS))

    def erasures(self) -> list[str]:
        """The users whose erasure is not done.

        Raises:
            StoreUnusable: they cannot be read.
        """
        return [user_id for (user_id,) in self._rows(_ERASURES)]

    def _rows(self, statement: str, *bindings: int) -> Iterator[Any]:
        """Rows of tables that files of before do not have."""
        if not self._has_states:
            return
        try:
            yield from self._connection.execute(statement, bindings)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise _unreadable(self._path, error) from error

    def _read_journal(self) -> Iterator[_Row]:
        for (batch,) in self._connection.execute(_JOURNAL):
            for position, *rest, content in orjson.loads(batch):
                found = next(self._rows(_CONTENT, position), (None,))
                yield (position, *rest, content if found[0] is None else found[0])


_Row = tuple[int, str, str, int, str]


def _message(row: _Row) -> StoredMessage:
    position, sender_id, message_id, sent_at, content = row
    return StoredMessage(
        position >> SEQ_BITS, position & SEQ_MASK, sent_at, sender_id, message_id, content
    )


def _unreadable(path: Path, error: Exception) -> StoreUnusable:
    return StoreUnusable(f"cannot read {path}: {' '.join(str(error).split())}")
