"""One WebSocket each: frames in, answers out.

It never imports `proxy.upstream`: relay commands go through the switchboard (`proxy.core`), unary
calls through `Context.make_call`, which `app` hands in. Begin with `session`, which decides and
does no I/O, then `connection`.
"""
