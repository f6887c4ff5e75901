"""Commands that an operator runs beside the server: backup, restore, import, tokens.

Each is a module with a `main`. They know the files and the tokens of a server, and not the
server itself.
"""
