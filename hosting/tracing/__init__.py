"""Spans of OpenTelemetry, which need not be installed.

The code calls `spans`; only `otel` imports OpenTelemetry, and only if it is wanted. Begin with
`spans`.
"""
