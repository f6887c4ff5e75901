"""How soon other nodes are told of new heads: at once, unless they hardly need it. No I/O.

Nodes that append to the same rooms are brought what others stored by the answers of their own
appends. While that is so, a hint tells them nothing new, but costs each node as much as ever.
So hints are fewer then: they are for nodes that follow such a room and append
nothing, and for the moment in which an appending node stops.
"""

from typing import Final

_SHARED_SECONDS: Final = 0.02
PAUSE_SECONDS: Final = 0.01
"""How far hints are apart while others append to the same rooms."""


class Pace:
    """The hints of a node; all times by one monotonic clock."""

    def __init__(self) -> None:
        self._shared_until = 0.0
        self._told_at = 0.0

    def met_others(self, now: float) -> None:
        """Takes note that an append brought along what others stored."""
        self._shared_until = now + _SHARED_SECONDS

    def told(self, now: float) -> None:
        """Takes note that a hint was sent."""
        self._told_at = now

    def pause(self, now: float) -> float:
        """How long the next hint may wait, in seconds; 0 if not at all."""
        if now > self._shared_until:
            return 0.0
        return max(0.0, self._told_at + PAUSE_SECONDS - now)
