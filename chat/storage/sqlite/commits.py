"""A commit of the writer: its messages alone, or a transaction with what is asked beside them.

Messages and users are the journal's. What else there is (changes, what is set of rooms, marks, the
steps of an erasure, messages with an extra) is written in the same transaction, or nothing of it
is; what is known in memory follows only when all of it is on disk.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import apsw

from chat.storage.base import MessageKey
from chat.storage.changes import Change, extra_of
from chat.storage.sqlite.asks import Answer, Ask, Forgetting, Reading, Setting, Told
from chat.storage.sqlite.changes import Changes
from chat.storage.sqlite.forget import forget
from chat.storage.sqlite.infos import set_rooms
from chat.storage.sqlite.journal import Commit, Journal, RepeatedError, Staged, UserRow
from chat.storage.sqlite.marks import store_marks
from chat.storage.sqlite.schema import SEQ_MASK
from chat.storage.sqlite.states import add_extras
from chat.storage.sqlite.transactions import transaction
from gen.chat import ChatMessage

NOTHING: Final[Sequence[Ask]] = ()


class Commits:
    """Makes commits, by the writer thread and on its connection.

    Args:
        check: called before a transaction of several statements ends; raises `StoreError` to
            have nothing of it stored.
    """

    def __init__(
        self, connection: apsw.Connection, journal: Journal, check: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._journal = journal
        self._check = check

    def store(
        self,
        appends: Sequence[Sequence[ChatMessage]],
        users: Sequence[UserRow],
        asks: Sequence[Ask] = NOTHING,
        *,
        has_extras: bool = False,
    ) -> Commit:
        """Stores messages and users and does what is asked, all of it or nothing.

        Args:
            appends: the messages, in the order in which they are to be stored.
            users: created or replaced.
            asks: done in their order, as far as they are of one kind.
            has_extras: whether some message may have an extra.

        Raises:
            HistoryConflict: somebody else writes to the database.
            apsw.Error: nothing was stored.
        """
        if not asks and not has_extras:
            return self._journal.store(appends, users)
        self._journal.make_room()
        try:
            return self._store(appends, users, asks, {})
        except RepeatedError:
            return self._store(appends, users, asks, self._journal.find(appends))

    def _store(
        self,
        appends: Sequence[Sequence[ChatMessage]],
        users: Sequence[UserRow],
        asks: Sequence[Ask],
        stored: Mapping[MessageKey, ChatMessage],
    ) -> Commit:
        journal, connection = self._journal, self._connection
        forgettings = [each for each in asks if isinstance(each, Forgetting)]
        for each in forgettings:
            journal.forget_user(each.user_id)
        before = connection.total_changes()
        with transaction(connection):
            now = journal.next_time()
            have_more = forget(connection, forgettings, now)
            staged = journal.stage(appends, users, stored)
            extras = _with_extras(staged)
            add_extras(connection, extras)
            changes = Changes(connection, journal, _fresh(staged), now)
            changed = changes.make([each for each in asks if isinstance(each, Change)])
            rooms, rooms_told = set_rooms(
                connection, [each for each in asks if isinstance(each, Setting)], now
            )
            marks, moved = store_marks(
                connection, [each for each in asks if isinstance(each, Reading)]
            )
            self._check()
        has_written = connection.total_changes() > before
        journal.note(staged)
        for place in changes.altered.values():
            journal.replace(place.message, place.position, has_new_text=place.has_new_text)
        kinds = {
            Change: iter(changed), Reading: iter(marks), Forgetting: iter(have_more),
            Setting: iter(rooms),
        }  # fmt: skip
        answers: list[Answer] = [next(kinds[type(each)]) for each in asks]
        told = Told(
            staged.heads,
            [*changes.told(), *rooms_told],
            [each.message for each in changes.altered.values()],
            moved,
            [message.room_id for _, message in extras],
        )
        fresh = list(staged.batch.fresh.values())
        return Commit(staged.stored, fresh, answers, told, has_written)


def _with_extras(staged: Staged) -> list[tuple[int, ChatMessage]]:
    """Returns the new messages with an extra, and their positions."""
    last = staged.batch.last_row_ids
    return [
        (last[message.room_id] & ~SEQ_MASK | message.seq, message)
        for message in staged.batch.fresh.values()
        if extra_of(message) is not None
    ]


def _fresh(staged: Staged) -> dict[tuple[str, int], ChatMessage]:
    """Returns the new messages by their places."""
    return {(each.room_id, each.seq): each for each in staged.batch.fresh.values()}
