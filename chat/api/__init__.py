"""The gRPC services: calls and streams come in here and are translated for the core.

Decisions about messages, rooms and users belong to `chat.core`, the way of a call to
`hosting.grpc`. Begin with `context`, all that handlers share. Then follow a message: a proxy's
through `relay_service`, `relay`, `conversation`; a gRPC client's through `chat_service`,
`chat_stream`, `conversation`.
"""
