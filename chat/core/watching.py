"""The rooms of which somebody wants to know who is there, and what is owed to them: no I/O.

Proxies count their users in each room, and name them where that is wanted. Until a proxy that
was told so has named them, or for a second, what is known is not the whole: nobody is told it.
"""

from __future__ import annotations

import asyncio
from typing import Final, Generic, TypeVar

from chat.core.attendance import State

Member = TypeVar("Member")

OWED_SECONDS: Final = 1.0
"""How long a proxy may take to name its users before the others are told without it."""


class Watch(Generic[Member]):
    """One room in which it is wanted.

    Attributes:
        told: what those who follow it were told last; `None` if nothing yet.
        newcomers: those who have come since, and are to be told as soon as all is known.
        behind: those who were told something else, or whose mailbox was half full: they are told
            with the next turn.
        timer: ends the time in which proxies may name their users.
        settled: done once all of them have.
    """

    __slots__ = ("_owing", "behind", "newcomers", "settled", "timer", "told")

    def __init__(self) -> None:
        self.told: State | None = None
        self.newcomers: dict[Member, None] = {}
        self.behind: dict[Member, None] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.settled: asyncio.Future[None] | None = None
        self._owing: dict[Member, float] = {}

    def owe(self, link: Member, now: float) -> None:
        """Notes that a proxy was told that its users are wanted."""
        self._owing[link] = now + OWED_SECONDS

    def paid(self, link: Member) -> None:
        """Notes that a proxy has named its users, or is gone."""
        self._owing.pop(link, None)

    def owed_until(self, now: float) -> float | None:
        """Until when a proxy may name its users that has not; `None` if there is none."""
        self._owing = {link: until for link, until in self._owing.items() if until > now}
        return max(self._owing.values(), default=None)

    def forget(self, member: Member) -> None:
        """Forgets a stream that has left."""
        self.newcomers.pop(member, None)
        self.behind.pop(member, None)
        self.paid(member)

    def end(self) -> None:
        """Ends the wait for proxies."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.settled is not None:
            if not self.settled.done():
                self.settled.set_result(None)
            self.settled = None
