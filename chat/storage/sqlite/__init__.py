"""The SQLite engine: one file, one writer thread with group commit, reader threads.

- `store`: the engine, which puts them together.
- `jobs`, `writer`: the thread with the only connection that writes and checkpoints.
- `batch`, `journal`: the messages of one commit, as they get their `seq`, and its writes.
- `commits`, `asks`: a commit with more than that: what is asked beside messages and users.
- `changes`, `states`, `marks`, `forget`: the statements of that, of one commit each.
- `fold`: their way from the journal into the table of messages.
- `salvage`: a commit made in parts, when it failed for something in it.
- `tail`: the content of the journal, for readers.
- `reader`, `state_reader`: pages and look-ups; what became of messages.
- `heads`: in which rooms something became of messages, and how far that was told.
- `erasing`: the steps by which a user is erased.
- `schema`: the tables, their versions and migrations.
- `scrub`, `cleaning`, `slack`: how what was deleted goes from the disk, too.
- `claim`, `files`, `watch`: one server for a file, which has to stay in its place.
- `export`: all of a file, for a database of another kind.
- `backup`, `wal`: copies, databases out of copies, and what a damaged log may have lost.

Begin with `store.append`, then `writer`, `journal`, `fold`.
"""

from chat.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
