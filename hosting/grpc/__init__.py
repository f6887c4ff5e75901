"""grpclib for an open port: a library that knows nothing of chat.

The only place that imports h2, hyperframe and `grpclib.protocol`. What belongs here holds for
any gRPC service; what a call means does not. Begin with `streams`, then `http2`.
"""
