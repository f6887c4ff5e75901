"""The SQLite engine: one file, one writer thread with group commit, reader threads.

- `schema`: the tables, their versions and migrations.
- `writer`: the thread with the only connection that writes and checkpoints.
- `journal`: the writes of a commit, and their way into the table of messages.
- `batch`: the messages of one commit, as they get their positions.
- `tail`: the content of the journal, for readers.
- `reader`: pages and look-ups.
- `store`: the engine, which puts them together.
- `backup`: copies, and databases out of copies.
"""

from chat.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
