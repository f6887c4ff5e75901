"""The part of an erasure that is no change of a message: profile, marks, mentions, and its note.

The note (`erasures`) is stored with the first step, and goes with the last: an erasure that was
cut short is gone on with. A user may send meanwhile, and be known again: so the profile goes
first, and whatever is stored behind that is new.
"""

from collections.abc import Sequence
from typing import Final

import apsw

from chat.storage.sqlite import scrub
from chat.storage.sqlite.asks import Forgetting

# How many marks, and how many mentions, a step removes at most: other commits wait for it.
_MOST: Final = 10_000

_BEGIN: Final = "INSERT OR IGNORE INTO erasures VALUES (?)"
_FORGET_PROFILE: Final = "DELETE FROM users WHERE user_id = ?"
_FORGET_MARKS: Final = """
DELETE FROM marks WHERE user_id = ?1 AND room IN (
    SELECT room FROM marks WHERE user_id = ?1 LIMIT ?2
)
"""
_FORGET_MENTIONS: Final = """
DELETE FROM mentions WHERE user_id = ?1 AND position IN (
    SELECT position FROM mentions WHERE user_id = ?1 LIMIT ?2
)
"""
_END: Final = "DELETE FROM erasures WHERE user_id = ?"


def forget(connection: apsw.Connection, forgettings: Sequence[Forgetting], now: int) -> list[bool]:
    """Forgets users, in a transaction.

    Args:
        connection: the writer's.
        forgettings: of whom, and how far it has come.
        now: in microseconds since 1970.

    Returns:
        Of each, whether it has to be asked again.
    """
    if forgettings:
        scrub.note(connection, now)
    return [_forget(connection, each) for each in forgettings]


def _forget(connection: apsw.Connection, forgetting: Forgetting) -> bool:
    user_id = forgetting.user_id
    if forgetting.is_last:
        connection.execute(_END, (user_id,))
        return False
    connection.execute(_BEGIN, (user_id,))
    connection.execute(_FORGET_PROFILE, (user_id,))
    removed = 0
    for statement in (_FORGET_MARKS, _FORGET_MENTIONS):
        connection.execute(statement, (user_id, _MOST))
        removed = max(removed, connection.changes())
    return removed == _MOST
