"""Who is in a room and who types there, as one client is told it: no I/O, and the time is given.

The rules are those of docs/websocket-api.md, "Who types" and "Who is there".
"""

from dataclasses import dataclass, field
from typing import Any

_MOST_TYPISTS = 5
_HOLD_MS = 6000


@dataclass(slots=True)
class Company:
    """The users of a room as one client knows them. Small rooms only: all of them are named.

    Attributes:
        here: who is there.
        gone: who was there and then was not, at any time.
        typed: how often it was told that somebody types.
        faults: what was wrong with what it was told, in words.
    """

    here: frozenset[str] = frozenset()
    gone: set[str] = field(default_factory=set)
    typed: int = 0
    faults: list[str] = field(default_factory=list)
    _typists: frozenset[str] = frozenset()
    _held_until: float = 0.0

    def hear_presence(self, presence: dict[str, Any]) -> None:
        """Takes who is there."""
        names = presence["user_ids"]
        if names != sorted(set(names)) or presence["count"] != len(names):
            self.faults.append(f"is no list of who is there: {presence}")
        self.gone |= self.here.difference(names)
        self.here = frozenset(names)

    def hear_typists(self, typists: dict[str, Any], now: float) -> None:
        """Takes who types."""
        names, hold_ms = typists["user_ids"], typists["hold_ms"]
        if len(set(names)) != len(names) or len(names) > _MOST_TYPISTS or typists["others"]:
            self.faults.append(f"is no list of who types: {typists}")
        if names and not 0 < hold_ms <= _HOLD_MS:
            self.faults.append(f"holds for too long: {typists}")
        self.typed += bool(names)
        self._typists = frozenset(names)
        self._held_until = now + hold_ms / 1000

    def typists(self, now: float) -> frozenset[str]:
        """Who types: what was told holds for as long as it said."""
        return self._typists if now < self._held_until else frozenset()

    def strangers(self, known: frozenset[str]) -> list[str]:
        """Describes whoever was named and was never there."""
        found = (self.here | self.gone | self._typists) - known
        return [f"was told of {name}, who was never there" for name in sorted(found)]
