"""What comes over HTTP, until it is a WebSocket: the listener, the routes, the upgrade.

Frames are read in `proxy.clients`; who may connect is decided in `proxy.access`. Begin with
`routes`, then `websocket`.
"""
