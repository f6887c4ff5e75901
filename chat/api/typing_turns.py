"""How often a client may say that it types: once in a few seconds for each room. No I/O."""

from __future__ import annotations

from typing import Final

TURN_SECONDS: Final = 3.0
"""How long after a client has said so for a room it is not listened to."""

_MOST: Final = 64


class TypingTurns:
    """The rooms for which one client has said so lately."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        # When, by room; the earliest first.
        self._taken: dict[str, float] = {}

    def take(self, room_id: str, now: float) -> bool:
        """Returns whether a client may say so now; then it may not for a while.

        Nobody types in many rooms at once: beyond 64 rooms within that while, none is listened to.

        Args:
            room_id: the room.
            now: the time in seconds; it never runs backward.
        """
        while self._taken and next(iter(self._taken.values())) <= now - TURN_SECONDS:
            del self._taken[next(iter(self._taken))]
        if room_id in self._taken or len(self._taken) == _MOST:
            return False
        self._taken[room_id] = now
        return True
