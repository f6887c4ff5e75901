"""Who calls, and what they may do: tokens, identities and the rights they carry.

Keys and tokens are checked here; what a right allows is asked for in `chat.api`. It knows no
transport and no database. Begin with `identity`, then `tokens`.
"""
