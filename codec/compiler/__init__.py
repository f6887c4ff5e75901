"""The compiler: reads a schema and generates the modules that `codec` calls.

It is not imported at run time, and only it imports google's protobuf library.
"""
