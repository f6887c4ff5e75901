"""The parts of any process that listens on a network; nothing of chat.

One-line errors at the start, settings and options, an orderly stop on SIGINT and SIGTERM,
logs on standard error, TLS, rate limits, a heartbeat. Below it: `grpc`, grpclib for an open
port; `telemetry`, metrics and the status page; `tracing`, spans for OpenTelemetry.

Code that knows a message, a room or a user does not belong here. Begin with `service` and
`command`, which run a process, then `settings`, `signals` and `logs`.
"""
