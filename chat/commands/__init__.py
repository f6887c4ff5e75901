"""Commands that an operator runs beside the server.

Backup, restore, import, a new epoch, what is stored of a person, tokens. Each is a module with a
`main`. They know the files and the tokens of a server, and not the server itself; `erase` may ask
one, over gRPC.
"""
