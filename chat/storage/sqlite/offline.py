"""A scrub of a file that no server has open, at once."""

from contextlib import closing
from pathlib import Path

import apsw

from chat.metrics import StoreMetrics
from chat.storage.base import StoreUnusable
from chat.storage.sqlite.claim import Claim
from chat.storage.sqlite.fold import fold_leftovers
from chat.storage.sqlite.journal import FOLD_BYTES, Journal
from chat.storage.sqlite.schema import open_writer
from chat.storage.sqlite.scrub import Scrub


def scrub_file(path: Path) -> None:
    """Removes what was deleted or replaced from the disk.

    Args:
        path: the database; it is there.

    Raises:
        StoreUnusable: it cannot be done; the text says why, in one line.
    """
    try:
        with closing(Claim(str(path))) as claim, closing(open_writer(claim.real)) as connection:
            fold_leftovers(connection)
            journal = Journal(connection, FOLD_BYTES)
            with closing(Scrub(connection, journal, StoreMetrics(), seconds=0)) as scrub:
                scrub.finish()
    except OSError as error:
        raise StoreUnusable(f"cannot open {path}: {error.strerror}") from error
    except (apsw.Error, ValueError) as error:
        why = " ".join(str(error).split())
        raise StoreUnusable(f"cannot scrub {path}: {why}") from error
