"""How SQLite goes about a statement: nothing on the way of a message looks at a whole table."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from chat.storage.sqlite.journal import _APPEND, _FIND, _NEWEST
from chat.storage.sqlite.reader import _BACKWARD, _BROKEN_OFF, _FORWARD, _HEAD, _USER, _USERS
from chat.storage.sqlite.schema import open_writer

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
}


def plan(connection: apsw.Connection, statement: str) -> list[str]:
    """What SQLite does for a statement, step by step."""
    values = [None] * statement.count("?")
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values[: _parameters(statement)])
    return [str(row[3]) for row in rows]


def _parameters(statement: str) -> int:
    numbered = [number for number in range(1, 10) if f"?{number}" in statement]
    return max(numbered, default=statement.count("?"))


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_no_table_is_gone_through(tmp_path: Path, statement: str) -> None:
    """A message sent again was looked for in all that were ever stored: a scan for each."""
    connection = open_writer(str(tmp_path / "chat.db"))
    try:
        steps = plan(connection, statement)
    finally:
        connection.close()
    assert any(step.startswith("SEARCH ") for step in steps)
    scanned = [step for step in steps if step.startswith("SCAN ")]
    # What was handed over, and what was found.
    harmless = ("SCAN new ", "SCAN CONSTANT ROW", "SCAN (subquery", "SCAN (join")
    assert [step for step in scanned if not step.startswith(harmless)] == []
