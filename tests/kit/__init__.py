"""Processes, and sockets that keep no rules: for the tests and for `bench`, and of neither.

What is here knows nothing of pytest and of the packages that are tested: `bench` is installed
without what tests need, and whoever attacks a server must not share its mistakes.
"""

PATIENCE_SECONDS = 60.0
"""How long anything is waited for: much longer than it takes, for a busy machine."""
