"""The gRPC services: calls and streams come in here and are translated for the core.

Decisions about messages, rooms and users belong to `chat.core`, the way of a call to
`hosting.grpc`. Begin with `context`, all that handlers share, then `service`, the calls of the
schema, `conversation`, the life of a stream, and `relay`, the stream of a proxy.
"""
