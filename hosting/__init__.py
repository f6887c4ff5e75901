"""What any process needs that listens on a network, and nothing of chat.

One-line errors at the start, settings and options, an orderly stop on SIGINT and SIGTERM,
logs on standard error, TLS, rate limits, a heartbeat. Below it: `grpc`, grpclib for an open
port; `telemetry`, metrics and the status page; `tracing`, spans for OpenTelemetry.

What knows a message, a room or a user does not belong here. Begin with `command`, which
runs a process, then `signals` and `logs`.
"""
