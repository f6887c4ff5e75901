"""Decisions on handshakes: origins, limits of each address, tokens, trusted proxies.

No I/O, and no answers: `proxy.http` gives them. The server decides what a user may do.
Begin with `admission`.
"""
