"""Rooms, presence and fan-out: the decisions of the server.

It knows storage by its interface (`chat.storage.base`) and no transport: no grpclib, no
database, and no settings but `rules.Limits`. Begin with `hub`, which puts a message into its
room, then `rooms` and `mailbox`.
"""
