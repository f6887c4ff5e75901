"""The switch between clients and the server: rooms, fan-out, unconfirmed messages.

No aiohttp and no grpclib: clients and link call the switchboard, and it knows them by
`client.Client` and `outbox.Outbox` alone. Begin with `switchboard`, then `rooms` and `unconfirmed`.
"""
