"""grpclib for an open port: a library that knows nothing of chat.

The only place that imports h2, hyperframe and `grpclib.protocol`, and no codec: a server is
handed one. What belongs here holds for any gRPC service; what a call means does not. Begin
with `server`, then `handler` and `connection`; below them `streams` and `http2`.
"""
