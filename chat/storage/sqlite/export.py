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
from typing import Final, NamedTuple, Self

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
_JOURNAL: Final = "SELECT batch FROM journal ORDER BY nth"
_ROOMS: Final = "SELECT room, room_id FROM rooms"
_USERS: Final = "SELECT user_id, name, email FROM users WHERE user_id > ? ORDER BY user_id"


class StoredMessage(NamedTuple):
    """A message as it is stored.

    Attributes:
        room: the number of the room in the file.
        sent_at: in microseconds since 1970.
    """

    room: int
    seq: int
    sent_at: int
    sender_id: str
    id: str
    content: str


StoredUser = tuple[str, str, str]
"""user_id, name, email."""


class Source:
    """A file, open for reading. Made by `open`.

    Attributes:
        epoch: the name of its history.
        rooms: their ids, by their numbers.
    """

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection
        version = connection.pragma("user_version")
        self._journal = sorted(_read_journal(connection)) if version > 1 else []
        self.epoch = read_epoch(connection)
        self.rooms = {int(str(room)): str(room_id) for room, room_id in connection.execute(_ROOMS)}

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
            yield from self._connection.execute(_USERS, (after,))
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
                self._connection.execute(_MESSAGES, (after,)),
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


_Row = tuple[int, str, str, int, str]


def _message(row: _Row) -> StoredMessage:
    position, sender_id, message_id, sent_at, content = row
    return StoredMessage(
        position >> SEQ_BITS, position & SEQ_MASK, sent_at, sender_id, message_id, content
    )


def _read_journal(connection: apsw.Connection) -> Iterator[_Row]:
    for (batch,) in connection.execute(_JOURNAL):
        for row in orjson.loads(batch):
            yield tuple(row)


def _unreadable(path: Path, error: Exception) -> StoreUnusable:
    return StoreUnusable(f"cannot read {path}: {' '.join(str(error).split())}")
