"""HTTP, until a connection is a WebSocket: the listener, the routes, the upgrade.

Frames are read in `proxy.clients`; `proxy.access` decides on handshakes. Begin with
`routes`, then `websocket`.
"""
