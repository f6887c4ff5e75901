"""Transactions during which other threads go on.

apsw's own (`with connection`) keep Python's lock while they end, and so while the disk is flushed:
the event loop stood still for as long, at each commit. A statement gives the lock up.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Makes all of it or nothing; within another transaction, as a part of it.

    Raises:
        apsw.Error: it could not be committed; nothing was stored.
    """
    if not connection.get_autocommit():
        with connection:
            yield
        return
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Of some errors, such as a full disk, SQLite has ended it already.
        if not connection.get_autocommit():
            connection.execute("ROLLBACK")
        raise
