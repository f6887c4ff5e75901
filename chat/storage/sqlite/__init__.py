"""The SQLite engine: one file, one writer thread with group commit, reader threads.

- `schema`: the tables, their versions and migrations.
- `writer`: the only connection that writes and checkpoints.
- `reader`: pages and look-ups.
- `store`: the engine, which puts them together.
"""

from chat.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
