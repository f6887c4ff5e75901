"""The way to the server: one batch stream that is made anew when it breaks, and calls.

It never imports `proxy.clients`: it drains the outbox and feeds the switchboard (`proxy.core`).
Begin with `link`.
"""
