"""Who types in a room, of this proxy's clients: pure, with the time from outside."""

from typing import Final

HOLD_SECONDS: Final = 6.0
"""So long somebody types who says so once."""


class TypingUsers:
    """Those who type in one room.

    Args:
        hold: how long each of them does after it has said so, in seconds.
    """

    __slots__ = ("_hold", "_until")

    def __init__(self, hold: float = HOLD_SECONDS) -> None:
        self._hold = hold
        # In the order in which they began.
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        """How many of them there are, of whom some may have ceased."""
        return len(self._until)

    def add(self, user_id: str, now: float) -> None:
        """Notes that a user says that it types."""
        if self._until.get(user_id, now) <= now:
            # It begins, perhaps once more.
            self._until.pop(user_id, None)
        self._until[user_id] = now + self._hold

    def names(self, now: float) -> list[str]:
        """Returns those who type, and forgets the others; those who began first come first."""
        self._until = {user_id: until for user_id, until in self._until.items() if until > now}
        return list(self._until)

    def end(self) -> float | None:
        """Returns when the next one ceases, if it says no more; `None` if nobody types."""
        return min(self._until.values(), default=None)
