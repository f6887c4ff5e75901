"""What was deleted is not in the files any more, wherever SQLite had left it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chat.metrics import StoreMetrics
from chat.storage.sqlite.journal import Journal
from chat.storage.sqlite.schema import open_writer
from chat.storage.sqlite.scrub import Scrub, note
from tests.support import told

# Nothing else that a test stores has so many of these letters in a row.
SECRET = re.compile(rb"[Q-Z]{16}")
SIZES = (20, 300, 2_000, 16_000)


def secret(random: Random, size: int) -> str:
    return "".join(random.choices("QRSTUVWXYZ", k=size))


def found(path: Path) -> set[str]:
    """The files of a folder with a piece of a secret in them."""
    return {file.name for file in path.parent.iterdir() if SECRET.search(file.read_bytes())}


class Rows:
    """Tables of every kind, with secrets in them and other rows around."""

    def __init__(self, connection: apsw.Connection, random: Random) -> None:
        self._execute = connection.execute
        self._random = random
        self.secrets: set[int] = set()
        self.kept: dict[int, str] = {}
        self._execute(
            "CREATE TABLE texts (key INTEGER PRIMARY KEY, text TEXT);"
            "CREATE INDEX by_text ON texts (substr(text, 1, 400));"
            "CREATE TABLE keyed (text TEXT, key INTEGER, PRIMARY KEY (text, key)) WITHOUT ROWID;"
        )

    def insert(self, *, is_secret: bool) -> None:
        key = self._random.randrange(1 << 40)
        size = self._random.choice(SIZES) // self._random.choice((1, 2, 7))
        text = secret(self._random, size) if is_secret else f"{key:x}." * (size // 12 + 1)
        self._execute("INSERT INTO texts VALUES (?, ?)", (key, text))
        self._execute("INSERT INTO keyed VALUES (?, ?)", (text, key))
        if is_secret:
            self.secrets.add(key)
        else:
            self.kept[key] = text

    def delete_secrets(self) -> None:
        """Deletes half of them, and overwrites the others."""
        for key in sorted(self.secrets):
            self._execute("DELETE FROM keyed WHERE key = ?", (key,))
            if self._random.random() < 0.5:
                self._execute("DELETE FROM texts WHERE key = ?", (key,))
            else:
                self._execute("UPDATE texts SET text = '' WHERE key = ?", (key,))
        self.secrets.clear()

    def delete(self) -> None:
        if self.kept:
            key = self._random.choice(sorted(self.kept))
            self._execute("DELETE FROM keyed WHERE text = ? AND key = ?", (self.kept[key], key))
            self._execute("DELETE FROM texts WHERE key = ?", (key,))
            del self.kept[key]

    def check(self) -> None:
        assert self._execute("PRAGMA integrity_check").get == "ok"
        texts = self._execute("SELECT key, text FROM texts WHERE text <> '' ORDER BY key")
        assert texts.fetchall() == sorted(self.kept.items())


@contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    connection = open_writer(str(path))
    connection.pragma("synchronous", "OFF")  # nothing loses power here
    try:
        yield connection
    finally:
        connection.close()


def scrub_of(connection: apsw.Connection, metrics: StoreMetrics | None = None) -> Scrub:
    journal = Journal(connection, 1 << 20)
    return Scrub(connection, journal, metrics or StoreMetrics(), seconds=0, step_seconds=0)


def is_noted(connection: apsw.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM meta WHERE key LIKE 'scrub%'").get)


def run(scrub: Scrub, connection: apsw.Connection, between: Callable[[], None]) -> None:
    for nth in range(10_000):
        scrub.go_on(lambda: True)
        if not is_noted(connection):
            return
        if nth < 40:
            between()
    raise AssertionError("it does not end")


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from((512, 1024, 4096)))
def test_nothing_is_left_of_what_was_deleted(seed: int, page_bytes: int) -> None:
    random = Random(seed)  # noqa: S311 - for a test
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chat.db"
        first = apsw.Connection(str(path))
        first.pragma("page_size", page_bytes)
        first.execute("VACUUM")
        first.close()
        with opened(path) as connection:
            rows = Rows(connection, random)
            for _ in range(40):
                rows.insert(is_secret=random.random() < 0.5)
                if random.random() < 0.2:
                    rows.delete()
            with connection:
                rows.delete_secrets()
                note(connection, 0)
            scrub = scrub_of(connection)

            def between() -> None:
                for _ in range(random.randrange(3)):
                    if random.random() < 0.5:
                        rows.delete()
                    else:
                        rows.insert(is_secret=False)

            run(scrub, connection, between)
            assert found(path) == set()
            rows.check()
            scrub.close()
        assert found(path) == set()


def test_what_sqlite_had_in_memory_does_not_come_back(path: Path) -> None:
    with opened(path) as connection:
        rows = Rows(connection, Random(2))  # noqa: S311 - for a test
        for nth in range(100):
            rows.insert(is_secret=nth % 2 == 0)
        rows.delete_secrets()
        note(connection, 0)
        rows.check()
        scrub = scrub_of(connection)
        run(scrub, connection, lambda: None)
        scrub.close()
        # Each page is written again.
        connection.execute("UPDATE texts SET key = -key")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert found(path) == set()


def test_without_a_scrub_it_is_left(path: Path) -> None:
    with opened(path) as connection:
        rows = Rows(connection, Random(1))  # noqa: S311 - for a test
        for nth in range(60):
            rows.insert(is_secret=nth % 2 == 0)
        connection.pragma("secure_delete", True)
        rows.delete_secrets()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert found(path) == {path.name}


@pytest.mark.parametrize("at", [1, 3, 12], ids=["free blocks", "number of cells", "cells"])
def test_damaged_page_is_left_alone(path: Path, at: int) -> None:
    """It fails, is tried again later, and the note stays."""
    metrics = StoreMetrics()
    with opened(path) as connection:
        rows = Rows(connection, Random(3))  # noqa: S311 - for a test
        for _ in range(20):
            rows.insert(is_secret=False)
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'keyed'").get
    begin = (int(str(root)) - 1) * 4096
    content = bytearray(path.read_bytes())
    content[begin + at : begin + at + 2] = b"\xff\xfe"
    path.write_bytes(content)
    with opened(path) as connection:
        note(connection, 0)
        scrub = scrub_of(connection, metrics)
        with capture_logs() as logged:
            for _ in range(20):
                scrub.go_on(lambda: True)
        assert metrics.scrub_failures == 1
        [line] = told(logged)
        assert line["event"] == "what was deleted is still on the disk: not scrubbed"
        assert is_noted(connection)
        # Nobody is held up by it.
        assert scrub.wait_seconds() > 0
        assert not connection.pragma("secure_delete")
        scrub.close()
    assert path.read_bytes()[begin : begin + 4096] == bytes(content[begin : begin + 4096])
