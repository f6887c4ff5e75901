"""The SQLite engine: one file, one writer thread with group commit, reader threads.

- `schema`: the tables, their versions and migrations.
- `writer`: the thread with the only connection that writes and checkpoints.
- `journal`: what a commit writes, and how that gets into the table of messages.
- `batch`: the messages of one commit, as they get their positions.
- `tail`: what is in the journal, for those who read.
- `reader`: pages and look-ups.
- `store`: the engine, which puts them together.
- `backup`: copies, and databases out of copies.
"""

from chat.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
