"""Authentication and rights of callers: tokens, identities, permissions.

Keys and tokens are checked here; what a right allows is asked for in `chat.api`. It knows no
transport and no database. Begin with `identity`, then `tokens`.
"""
