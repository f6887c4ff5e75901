"""Messages and users at rest: the interface, and one engine for each way to keep them.

`base` writes the guarantees out, and one suite of tests runs on every engine. What a room or a
user may do is decided above. Begin with `base`, then `memory`, the plainest engine.
"""
