"""A copy of a database while a server has it open, and a database out of such a copy.

The copy is of one moment: it holds all that was confirmed before it began, and what is
in the journal is in its journal. It is one file, without a log beside it.

A database that is made out of a copy has an epoch of its own. Clients may have seen
messages that came after the copy, and their positions will be given to others: by the
epoch they learn that their history is not the beginning of the new one.
"""

import os
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from chat.storage.base import StoreUnusable
from chat.storage.sqlite.claim import NameLock, taken
from chat.storage.sqlite.schema import APPLICATION_ID, read_epoch
from hosting import private

# How many pages are copied before Python may take a signal.
_PAGES: Final = 4096


def back_up(database: Path, target: Path) -> None:
    """Copies a database, which servers may go on to read and write meanwhile.

    The copy is whole and checked before it gets its name, and on disk when this
    returns. Only its owner may read it.

    Args:
        database: the file of a server, running or not.
        target: the file to make.

    Raises:
        StoreUnusable: it cannot be done; the text says why, in one line.
    """
    _refuse_other_names(database)
    _copy(database, target, read_epoch)


def restore(copy: Path, database: Path) -> None:
    """Makes the database of a server out of a copy, with a new epoch.

    Args:
        copy: from `back_up`, or any other whole copy.
        database: the file to make; missing folders are made. There may be none of that
            name, and no log of one beside it, which SQLite would take for a part of it.

    Raises:
        StoreUnusable: it cannot be done; the text says why, in one line.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        _refuse_existing(database.with_name(database.name + suffix))
    try:
        private.make_folder(database.parent)
        lock = NameLock(os.path.realpath(database))
    except BlockingIOError:
        raise taken(str(database)) from None
    except OSError as error:
        raise StoreUnusable(f"cannot write {database}: {error.strerror}") from error
    with closing(lock):
        _copy(copy, database, _stamp)


def _stamp(connection: apsw.Connection) -> None:
    read_epoch(connection)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (uuid.uuid4().hex,))


def _copy(source: Path, target: Path, finish: Callable[[apsw.Connection], object]) -> None:
    _refuse_existing(target)
    partial = target.with_name(f"{target.name}.partial")
    try:
        os.close(private.open_file(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise StoreUnusable(
            f"{partial} exists: another copy is being made, or one was cut short; remove it then"
        ) from None
    except OSError as error:
        raise StoreUnusable(f"cannot write {partial}: {error.strerror}") from error
    try:
        _fill(source, partial, finish)
        _sync(partial)
        _refuse_existing(target)
        partial.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreUnusable(f"cannot write {target}: {error.strerror}") from error
    except apsw.Error as error:
        why = " ".join(str(error).split())
        raise StoreUnusable(f"cannot copy {source} to {target}: {why}") from error
    finally:
        for suffix in ("", "-journal"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def _fill(source: Path, partial: Path, finish: Callable[[apsw.Connection], object]) -> None:
    with closing(_open(source)) as original, closing(_open(partial)) as copy:
        _refuse_foreign(original, source)
        # Without a transaction around it, a copy begins anew with each commit of others.
        with original, copy.backup("main", original, "main") as backup:
            original.execute("SELECT count(*) FROM meta").fetchall()
            while not backup.done:
                backup.step(_PAGES)
        # One file, which can be read where nothing can be written.
        copy.pragma("journal_mode", "DELETE")
        found = copy.execute("PRAGMA integrity_check(1)").get
        if found != "ok":
            raise StoreUnusable(f"{source} is damaged: {' '.join(str(found).split())}")
        finish(copy)


def _open(path: Path) -> apsw.Connection:
    # Not read-only, for that would leave a log behind where no server runs.
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(5000)
    return connection


def _refuse_foreign(connection: apsw.Connection, path: Path) -> None:
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StoreUnusable(f"{path} is not a database of this program")


def _refuse_other_names(path: Path) -> None:
    """Refuses a file with other names: its log, with the newest commits, may lie beside one."""
    real = os.path.realpath(path)
    if path.is_file() and path.stat().st_nlink > 1 and not Path(f"{real}-wal").exists():
        raise StoreUnusable(
            f"{path} has other names (hard links), and what was confirmed last may lie beside one"
            " of them: give the name by which the server opens it, or remove the others"
        )


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise StoreUnusable(f"{path} exists: it is not overwritten; move it away first")


def _sync(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
