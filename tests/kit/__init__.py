"""Processes, and sockets that keep no rules: shared by the tests and `bench`.

The package knows neither pytest nor the packages under test: `bench` is installed
without the test dependencies, and an attacker must not share the server's mistakes.
"""

PATIENCE_SECONDS = 60.0
"""The limit of any wait: ample, for a busy machine."""
