"""One WebSocket each: frames in, answers out.

It never imports `proxy.upstream`: all that goes to the server goes through the switchboard
(`proxy.core`). Begin with `session`, which decides and does no I/O, then `connection`.
"""
