"""How often a client may tell that somebody types: pure, with the time from outside."""

from typing import Final

PAUSE_SECONDS: Final = 3.0
"""What a client tells of a room within so many seconds after the last time is dropped."""


class TypingLimit:
    """The rooms of which one client told a short while ago."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        # The time at which it told of each room; the oldest first.
        self._told: dict[str, float] = {}

    def __len__(self) -> int:
        """How many rooms are remembered."""
        return len(self._told)

    def take(self, room_id: str, now: float) -> bool:
        """Returns whether it may be told that somebody types in a room.

        Args:
            room_id: the room.
            now: the time in seconds; it never runs backward.
        """
        told = self._told
        while told and now - told[oldest := next(iter(told))] >= PAUSE_SECONDS:
            del told[oldest]
        if room_id in told:
            return False
        told[room_id] = now
        return True
