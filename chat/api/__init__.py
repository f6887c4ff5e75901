"""The gRPC services: calls and streams come in here and are translated for the core.

What a message, a room or a user may do is decided in `chat.core`; how a call travels is the
business of `hosting.grpc`. Begin with `service`, the calls of the schema, then
`conversation`, the life of a stream, and `relay`, the stream of a proxy.
"""
