"""The compiler: reads a schema and writes the modules that `codec` calls.

Nothing here is imported at run time, and nothing else imports google's protobuf library.
"""
