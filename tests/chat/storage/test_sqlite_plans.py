"""Query plans: no statement on a message's way scans a whole table."""

# ruff: noqa: SLF001 - what is tested are statements, which no other module needs

from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest

from chat.storage.sqlite import (
    changes,
    forget,
    infos,
    journal,
    marks,
    reader,
    room_reader,
    state_reader,
)
from chat.storage.sqlite.schema import open_writer

STATEMENTS = {
    "append": journal._APPEND,
    "find": journal._FIND,
    "newest": journal._NEWEST,
    "oldest first": reader._FORWARD.rows,
    "newest first": reader._BACKWARD.rows,
    "sizes, oldest first": reader._FORWARD.sizes,
    "sizes, newest first": reader._BACKWARD.sizes,
    "broken off": reader._BROKEN_OFF,
    "head": reader._HEAD,
    "user": reader._USER,
    "users": reader._USERS,
    "oldest first, as they stand": reader._CURRENT_FORWARD.rows,
    "newest first, as they stand": reader._CURRENT_BACKWARD.rows,
    "sizes, as they stand": reader._CURRENT_FORWARD.sizes,
    "change": changes._LOAD,
    "first reactors": changes._FIRST,
    "reacting": changes._REACTING,
    "numbers": changes._STORE_NUMBERS,
    "texts": changes._REMOVE_TEXTS,
    "remove reactions": changes._REMOVE_REACTIONS,
    "remove all reactions": changes._REMOVE_ALL_REACTIONS,
    "remove mentions": changes._REMOVE_MENTIONS,
    "marks": marks._LOAD,
    "count mentions": marks.COUNT,
    "mark": marks.READ,
    "forget marks": forget._FORGET_MARKS,
    "forget mentions": forget._FORGET_MENTIONS,
    "what is known of a room": state_reader._HEAD,
    "changes": state_reader._CHANGE_ROWS,
    "sizes of changes": state_reader._CHANGE_SIZES,
    "count changes": state_reader._COUNT,
    "reactions": state_reader._REACTIONS,
    "reactions of a user": state_reader._REACTIONS_OF,
    "sent": state_reader._SENT,
    "reacted": state_reader._REACTED,
    "some users": reader._SOME_USERS,
    "set rooms": infos._LOAD,
    "numbers of rooms that are set": infos._STORE_NUMBERS,
    "rooms": room_reader._ROOM_IDS,
    "titles": room_reader._TITLES,
    "have few marks": room_reader._HAVE_FEW_MARKS,
    "marked": room_reader._MARKED,
    "which are marked": room_reader._WHICH_ARE_MARKED,
    "rows of rooms": room_reader._ROWS,
    "members": room_reader._MEMBERS,
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    with closing(open_writer(str(tmp_path_factory.mktemp("plans") / "chat.db"))) as connection:
        yield connection


def plan(connection: apsw.Connection, statement: str) -> list[str]:
    """SQLite's query plan of a statement."""
    values = [None] * statement.count("?")
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values[: _parameters(statement)])
    return [str(row[3]) for row in rows]


def _parameters(statement: str) -> int:
    numbered = [number for number in range(1, 10) if f"?{number}" in statement]
    return max(numbered, default=statement.count("?"))


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_no_statement_scans_a_table(connection: apsw.Connection, statement: str) -> None:
    """A repeated message was once looked up by a scan of all messages."""
    steps = plan(connection, statement)
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
