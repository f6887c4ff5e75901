"""The PostgreSQL engine: one database for any number of nodes.

- `epoch`: the name of the history, and when a failover makes it another one.
- `following`: what was announced of rooms that other nodes write into, too.
"""
