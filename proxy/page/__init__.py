"""The web client, prepared for browsers: one document, one script, addresses by content.

Whoever changes the page changes the files in `proxy/static`; nothing has to be built. Begin
with `prepared`, then `linker`.
"""
