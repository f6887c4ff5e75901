"""Transactions of the writer: all or nothing, alone and within another one."""

from pathlib import Path

import apsw
import pytest

from chat.storage.sqlite.transactions import transaction


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(tmp_path / "some.db"))
    connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
    return connection


def add(connection: apsw.Connection, number: int) -> None:
    connection.execute("INSERT INTO numbers VALUES (?)", (number,))


def add_all(connection: apsw.Connection, *several: int) -> None:
    with transaction(connection):
        for number in several:
            add(connection, number)


def numbers(connection: apsw.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM numbers")]


def test_all_of_it_is_stored(connection: apsw.Connection) -> None:
    add_all(connection, 1, 2)
    assert connection.get_autocommit()
    assert numbers(connection) == [1, 2]


def test_nothing_is_stored_of_one_that_fails(connection: apsw.Connection) -> None:
    with pytest.raises(apsw.ConstraintError):
        add_all(connection, 1, 1)
    assert connection.get_autocommit()
    assert numbers(connection) == []


def test_one_that_sqlite_has_ended_fails_with_its_reason(connection: apsw.Connection) -> None:
    add(connection, 1)
    with pytest.raises(apsw.ConstraintError), transaction(connection):
        connection.execute("INSERT OR ROLLBACK INTO numbers VALUES (2), (1)")
    assert connection.get_autocommit()
    assert numbers(connection) == [1]


def test_part_of_another_one_fails_alone(connection: apsw.Connection) -> None:
    with transaction(connection):
        add(connection, 1)
        with pytest.raises(apsw.ConstraintError):
            add_all(connection, 2, 1)
        add(connection, 3)
    assert numbers(connection) == [1, 3]
