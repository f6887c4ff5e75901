"""Who may open a connection: origins, limits for each address, tokens, trusted proxies.

Decisions only: it writes nothing to a socket. What a user may do is the server's to decide.
Begin with `admission`.
"""
