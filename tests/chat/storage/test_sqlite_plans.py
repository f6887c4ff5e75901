"""Query plans: no statement on a message's way scans a whole table."""

from pathlib import Path

import apsw
import pytest

from chat.storage.sqlite.changes import (
    _FIRST,
    _REACTING,
    _REMOVE_ALL_REACTIONS,
    _REMOVE_MENTIONS,
    _REMOVE_REACTIONS,
    _REMOVE_TEXTS,
    _STORE_NUMBERS,
)
from chat.storage.sqlite.changes import _LOAD as _LOAD_OF_CHANGES
from chat.storage.sqlite.forget import _FORGET_MARKS, _FORGET_MENTIONS
from chat.storage.sqlite.infos import _LOAD as _LOAD_OF_INFOS
from chat.storage.sqlite.infos import _STORE_NUMBERS as _STORE_NUMBERS_OF_INFOS
from chat.storage.sqlite.journal import _APPEND, _FIND, _NEWEST
from chat.storage.sqlite.marks import _LOAD as _LOAD_OF_MARKS
from chat.storage.sqlite.marks import COUNT, READ
from chat.storage.sqlite.reader import (
    _BACKWARD,
    _BROKEN_OFF,
    _CURRENT_BACKWARD,
    _CURRENT_FORWARD,
    _FORWARD,
    _HEAD,
    _SOME_USERS,
    _USER,
    _USERS,
)
from chat.storage.sqlite.room_reader import (
    _HAVE_FEW_MARKS,
    _MARKED,
    _MEMBERS,
    _ROOM_IDS,
    _ROWS,
    _TITLES,
    _WHICH_ARE_MARKED,
)
from chat.storage.sqlite.schema import open_writer
from chat.storage.sqlite.state_reader import (
    _CHANGE_ROWS,
    _CHANGE_SIZES,
    _COUNT,
    _REACTED,
    _REACTIONS,
    _REACTIONS_OF,
    _SENT,
)
from chat.storage.sqlite.state_reader import _HEAD as _HEAD_OF_STATE_READER

STATEMENTS = {
    "append": _APPEND,
    "find": _FIND,
    "newest": _NEWEST,
    "oldest first": _FORWARD.rows,
    "newest first": _BACKWARD.rows,
    "sizes, oldest first": _FORWARD.sizes,
    "sizes, newest first": _BACKWARD.sizes,
    "broken off": _BROKEN_OFF,
    "head": _HEAD,
    "user": _USER,
    "users": _USERS,
    "oldest first, as they stand": _CURRENT_FORWARD.rows,
    "newest first, as they stand": _CURRENT_BACKWARD.rows,
    "sizes, as they stand": _CURRENT_FORWARD.sizes,
    "change": _LOAD_OF_CHANGES,
    "first reactors": _FIRST,
    "reacting": _REACTING,
    "numbers": _STORE_NUMBERS,
    "texts": _REMOVE_TEXTS,
    "remove reactions": _REMOVE_REACTIONS,
    "remove all reactions": _REMOVE_ALL_REACTIONS,
    "remove mentions": _REMOVE_MENTIONS,
    "marks": _LOAD_OF_MARKS,
    "count mentions": COUNT,
    "mark": READ,
    "forget marks": _FORGET_MARKS,
    "forget mentions": _FORGET_MENTIONS,
    "what is known of a room": _HEAD_OF_STATE_READER,
    "changes": _CHANGE_ROWS,
    "sizes of changes": _CHANGE_SIZES,
    "count changes": _COUNT,
    "reactions": _REACTIONS,
    "reactions of a user": _REACTIONS_OF,
    "sent": _SENT,
    "reacted": _REACTED,
    "some users": _SOME_USERS,
    "set rooms": _LOAD_OF_INFOS,
    "numbers of rooms that are set": _STORE_NUMBERS_OF_INFOS,
    "rooms": _ROOM_IDS,
    "titles": _TITLES,
    "have few marks": _HAVE_FEW_MARKS,
    "marked": _MARKED,
    "which are marked": _WHICH_ARE_MARKED,
    "rows of rooms": _ROWS,
    "members": _MEMBERS,
}


def plan(connection: apsw.Connection, statement: str) -> list[str]:
    """SQLite's query plan of a statement."""
    values = [None] * statement.count("?")
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values[: _parameters(statement)])
    return [str(row[3]) for row in rows]


def _parameters(statement: str) -> int:
    numbered = [number for number in range(1, 10) if f"?{number}" in statement]
    return max(numbered, default=statement.count("?"))


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_no_statement_scans_a_table(tmp_path: Path, statement: str) -> None:
    """A repeated message was once looked up by a scan of all messages."""
    connection = open_writer(str(tmp_path / "chat.db"))
    try:
        steps = plan(connection, statement)
    finally:
        connection.close()
    assert any(step.startswith("SEARCH ") for step in steps)
    scanned = [step for step in steps if step.startswith("SCAN ")]
    # Arguments and results.
    harmless = (
        "SCAN new ",
        "SCAN CONSTANT ROW",
        "SCAN (subquery",
        "SCAN (join",
        "SCAN json_each ",
        "SCAN page",
        "SCAN some",
    )
    assert [step for step in scanned if not step.startswith(harmless)] == []
