"""Moving the journal to its place in the table of messages.

A slice may be folded twice, so a crash in between is no harm: each message is then at
its position already. Another message at its position, or itself at another one, means
that positions were given by two writers, who each believed to be the only one. Which of
the two messages is the right one cannot be known, so nothing is dropped and nothing goes on.

A message that was edited or deleted has its text in `states`, and none in the table. In memory
its row is marked as `textless`, and folded so. After a crash the journal still has the old text:
`states` then tells that it counts for nothing, neither as a text nor as another message.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Final

import apsw

from chat.storage.base import MessageKey, StoreUnusable
from chat.storage.sqlite.batch import Row
from chat.storage.sqlite.schema import keep_last_sent_at
from chat.storage.sqlite.transactions import transaction
from gen.chat import ChatMessage

# How many messages are folded in one transaction: jobs that come meanwhile have to wait.
_SLICE: Final = 512

_position: Final = itemgetter(0)

_ROW: Final = "(?,?,?,?,?)"
_FOLD: Final = "INSERT INTO messages VALUES {rows} ON CONFLICT (position) DO NOTHING"
_FOLD_JOURNAL: Final = """
INSERT INTO messages
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, iif(EXISTS (
    SELECT 1 FROM states WHERE position = value ->> 0 AND content IS NOT NULL
), '', value ->> 4)
FROM journal, json_each(batch) WHERE true ORDER BY 1
ON CONFLICT (position) DO NOTHING
"""

# Where a message is another one in the table.
_DIFFERENT: Final = """
WITH new (position, sender_id, id, sent_at, content) AS ({rows})
SELECT format('position %d of room %s', position & 0xffffffff, json_quote(room_id))
FROM new JOIN messages AS old USING (position) LEFT JOIN rooms ON room = position >> 32
WHERE (new.sender_id, new.id, new.sent_at) IS NOT (old.sender_id, old.id, old.sent_at)
      OR new.content IS NOT old.content AND NOT EXISTS (
          SELECT 1 FROM states WHERE states.position = new.position AND content IS NOT NULL
      )
LIMIT 1
"""
_JOURNAL_ROWS: Final = """
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM journal, json_each(batch)
"""

# All messages of a commit have the same.
_LAST_SENT_AT: Final = "SELECT batch ->> 0 ->> 3 FROM journal ORDER BY nth DESC LIMIT 1"

_HELP: Final = (
    "two servers wrote to this database: restore a backup, or empty its table `journal` to do"
    " without what only that has"
)


class HistoryConflict(StoreUnusable):
    """Two writers gave positions in one history; the text says where, and the remedy.

    Args:
        where: what was found.
    """

    def __init__(self, where: str) -> None:
        super().__init__(f"{where}: {_HELP}")


@dataclass(slots=True)
class Fold:
    """One generation of the journal on its way into the table.

    Attributes:
        rows: all of them, in the order of their positions.
        messages: the same, as they stand, by their keys.
        size: the bytes that they take in the journal.
        last: the number of the last row of the journal among them, or 0.
        sent_at: the time of the last of them that came.
        done: how many of the rows are in the table.
        textless: the positions of rows whose text is not to be folded.
    """

    rows: list[Row] = field(default_factory=list)
    messages: dict[MessageKey, ChatMessage] = field(default_factory=dict)
    size: int = 0
    last: int = 0
    sent_at: int = 0
    done: int = 0
    textless: set[int] = field(default_factory=set)
    # The rows by their positions, as far as one was looked for, until they are sorted.
    _by_position: dict[int, Row] = field(default_factory=dict)
    _is_sorted: bool = False

    def begin(self) -> None:
        """Makes it ready to be folded: nothing is added from now on."""
        self.rows.sort(key=_position)
        self._by_position, self._is_sorted = {}, True

    def row_at(self, position: int) -> Row | None:
        """Returns the row of a position, if it is here."""
        if self._is_sorted:
            nth = bisect_left(self.rows, position, key=_position)
            row = self.rows[nth] if nth < len(self.rows) else None
            return row if row is not None and row[0] == position else None
        for nth in range(len(self._by_position), len(self.rows)):
            row = self.rows[nth]
            self._by_position[row[0]] = row
        return self._by_position.get(position)

    def fold_slice(self, connection: apsw.Connection) -> bool:
        """Folds some of the rows, and with the last of them removes them from the journal.

        Returns:
            Whether there are more of them.

        Raises:
            HistoryConflict: the table has another message at a position.
            apsw.Error: nothing was folded.
        """
        rows = self.rows[self.done : self.done + _SLICE]
        more = self.done + len(rows) < len(self.rows)
        if self.textless:
            rows = [(*row[:4], "") if row[0] in self.textless else row for row in rows]
        values = ",".join([_ROW] * len(rows))
        bindings = list(chain.from_iterable(rows))
        with _all_or_nothing(connection):
            connection.execute(_FOLD.format(rows=values), bindings)
            # Some were there, which is seldom.
            if connection.changes() < len(rows):
                _refuse_different(connection, f"VALUES {values}", bindings)
            if not more:
                connection.execute("DELETE FROM journal WHERE nth <= ?", (self.last,))
                keep_last_sent_at(connection, self.sent_at)
        self.done += len(rows)
        return more


def fold_leftovers(connection: apsw.Connection) -> None:
    """Folds the journal that a server left which did not close.

    Raises:
        HistoryConflict: the table, or the journal itself, has another message at a position.
        apsw.Error: it could not.
    """
    with _all_or_nothing(connection):
        if connection.execute("SELECT EXISTS (SELECT 1 FROM journal)").get:
            connection.execute(_FOLD_JOURNAL)
            _refuse_different(connection, _JOURNAL_ROWS, [])
            sent_at = connection.execute(_LAST_SENT_AT).get
            if isinstance(sent_at, int):
                keep_last_sent_at(connection, sent_at)
            connection.execute("DELETE FROM journal")


@contextmanager
def _all_or_nothing(connection: apsw.Connection) -> Iterator[None]:
    try:
        with transaction(connection):
            yield
    except apsw.ConstraintError as error:
        # apsw's stubs do not know of the attribute.
        if getattr(error, "extendedresult", None) != apsw.SQLITE_CONSTRAINT_UNIQUE:
            raise
        raise HistoryConflict(
            f"the table has a message of the journal at another position ({error})"
        ) from error


def _refuse_different(connection: apsw.Connection, rows: str, bindings: list[object]) -> None:
    found = connection.execute(_DIFFERENT.format(rows=rows), bindings).get
    if found is not None:
        raise HistoryConflict(f"the table has another message than the journal at {found}")
