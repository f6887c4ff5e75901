"""What both processes share to be good citizens of a machine.

One-line errors on a wrong command line, one line when ready, logs on standard
error, and an orderly stop on SIGINT and SIGTERM. It knows nothing of chat.
"""
