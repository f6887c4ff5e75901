"""grpclib for an open port: a library that knows nothing of chat.

The only place that imports h2, hyperframe and `grpclib.protocol`, and no codec: a server is
handed one. Code belongs here if it holds for any gRPC service. Begin
with `server`, then `handler` and `connection`; below them `streams` and `http2`.
"""
