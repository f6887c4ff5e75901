"""The switch between clients and the server: rooms, fan-out, what is not confirmed yet.

No aiohttp and no grpclib: both sides hand in what they have and take what is theirs. Begin
with `switchboard`, then `rooms` and `unconfirmed`.
"""
