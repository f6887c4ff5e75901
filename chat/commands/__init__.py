"""Commands that an operator runs beside the server: backup, restore, tokens.

Each is a module with a `main`. What the server itself does is not here.
"""
