"""Messages and users at rest: the interface, and one engine for each way to keep them.

`base` writes the guarantees out, and one suite of tests runs on every engine. Decisions about
rooms and users are made above. Begin with `base`, then `memory`, the plainest engine.
"""
