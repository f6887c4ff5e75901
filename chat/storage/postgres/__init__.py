"""The PostgreSQL engine: one database for any number of nodes.

- `store`: the engine, which puts them together.
- `address`, `connections`, `kept`: where the database is, and connections to it.
- `schema`, `sql/`: the tables and functions, their versions and migrations.
- `writer`, `appender`, `batch`: messages on their way into the database, many at once.
- `extras`: what they have beside their text.
- `durable`, `changer`, `change_batch`: what becomes of them; `marks`, `erasing`: how far users
  have read, and users who go.
- `followed`, `following`, `stays`: what was announced of the rooms that somebody is in, and what
  is missing.
- `follower`, `tails`, `heads`: what other nodes store in them is fetched.
- `change_following`, `change_follower`, `change_reads`: the same of changes.
- `hints`, `hint_payloads`, `link`, `bus`: how nodes tell each other to fetch.
- `notify`; `valkey`, `valkey_wire`, `valkey_address`: by what they tell it.
- `supervised`: loops that survive their failures.
- `reader`: pages and look-ups.
- `epoch`, `admission`: the name of the history, when a failover makes it another one, and
  what a node does then.
- `suspicions`: what makes a node look at its database anew.
- `side`, `lease`, `spending`: a connection for what may be lost: heartbeats, who is active, quotas.
- `maintenance`, `importing`, `importing_changes`: for commands beside the servers.
- `errors`: what the errors of asyncpg mean.

Begin with `store.append`, then `writer`, `appender`, `sql/004_append.sql`.
"""

from chat.storage.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
