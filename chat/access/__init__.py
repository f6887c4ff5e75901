"""Authentication and rights of callers: tokens, identities, permissions.

Keys and tokens are checked here; `chat.api` asks for permissions. It knows no
transport and no database. Begin with `identity`, then `tokens`.
"""
