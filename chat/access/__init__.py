"""Who calls, and what they may do: tokens, identities and the rights they carry."""
