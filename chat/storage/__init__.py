"""Where messages and users are kept: the interface, and one module for each engine."""
