"""Spans of OpenTelemetry, which need not be installed.

The code calls `spans`, which knows nothing of OpenTelemetry; only `otel` imports it, and `setup`
imports that only if the environment asks for traces. Begin with `spans`.
"""
