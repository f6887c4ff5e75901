"""Query plans: no statement on a message's way scans a whole table."""

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
    harmless = ("SCAN new ", "SCAN CONSTANT ROW", "SCAN (subquery", "SCAN (join")
    assert [step for step in scanned if not step.startswith(harmless)] == []
