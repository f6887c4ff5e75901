"""A commit that failed because of a value in it, tried again without it: no I/O of its own.

A message that cannot be stored, as its text cannot be encoded for instance, must not take
along those that merely waited beside it. No message is checked for that before a commit has
failed; then halves are stored apart, and halves of those that fail, down to single ones.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeGuard

import apsw

from chat.storage.base import StoreError, Unstorable
from chat.storage.changes import Change
from chat.storage.sqlite.asks import Answer, Ask, Forgetting, Reading, Setting
from chat.storage.sqlite.journal import Commit, UserRow
from gen.chat import ChatMessage

Item = ChatMessage | UserRow | Ask
"""The unit of storage, stored as a whole or not at all."""

Outcome = Answer | UserRow | StoreError
"""The result for an item: the stored message, the user, the answer, or its error."""

_ASKS: Final = (Change, Reading, Forgetting, Setting)

Store = Callable[[Sequence[Sequence[ChatMessage]], Sequence[UserRow], Sequence[Ask]], Commit]

# SQLite's errors of a value. All others are of the disk, the file or the engine:
# they would meet every other message too.
_OF_A_VALUE: Final = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.TooBigError,
)


def is_of_a_value(error: Exception) -> bool:
    """Returns whether a commit failed because of a value in it, not because of the store."""
    if isinstance(error, apsw.Error):
        return isinstance(error, _OF_A_VALUE)
    return not isinstance(error, OSError | MemoryError | StoreError)


class Salvage:
    """Stores the items of a failed commit, except those that cannot be stored, in order.

    Of `n` items of which `k` cannot be stored, it makes about `2 k log2(n)` further
    attempts. Once the store itself fails, it makes no more.

    Args:
        store: stores messages and users and does what is asked, all of it or nothing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._broken: StoreError | None = None

    def apart(self, items: Sequence[Item], error: Exception) -> list[Outcome]:
        """Stores each half of them, if there is more than one.

        Args:
            items: the items of the commit.
            error: its error, which `is_of_a_value`.

        Returns:
            The result for each.
        """
        if len(items) <= 1:
            return [Unstorable(str(error)) for _ in items]
        half = len(items) // 2
        return self._together(items[:half]) + self._together(items[half:])

    def _together(self, items: Sequence[Item]) -> list[Outcome]:
        if self._broken is None:
            try:
                return self._stored(items)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait learn of it
                if is_of_a_value(error):
                    return self.apart(items, error)
                self._broken = StoreError(str(error))
        return [self._broken] * len(items)

    def _stored(self, items: Sequence[Item]) -> list[Outcome]:
        messages = [item for item in items if isinstance(item, ChatMessage)]
        users = [item for item in items if is_user(item)]
        asks = [item for item in items if isinstance(item, _ASKS)]
        commit = self._store([messages], users, asks)
        [stored], answers = map(iter, commit.stored), iter(commit.answers)
        return [
            next(stored) if isinstance(item, ChatMessage)
            else next(answers) if isinstance(item, _ASKS)
            else item
            for item in items
        ]  # fmt: skip


def is_user(item: Item) -> TypeGuard[UserRow]:
    """Returns whether an item is a user."""
    return not isinstance(item, (ChatMessage, *_ASKS))
