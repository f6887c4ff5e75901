"""What clients write down while things break, and what wakes those who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.history import History, Message, Outcome, Position, Send
from tests.support import PATIENCE_SECONDS


@dataclass(slots=True)
class Sending:
    """A message that is not confirmed yet.

    Attributes:
        tries: how often sending it was given up.
        waits: whether an answer to it is to come.
    """

    room: str
    sender: str
    id: str
    content: str
    tries: int = 0
    waits: bool = False

    @property
    def request_id(self) -> str:
        """The request id of this try."""
        return f"{self.id} {self.tries}"


class Journal:
    """What all clients of a test write into.

    Args:
        patience: how long anyone waits for anything, in seconds.

    Attributes:
        history: for the checker.
        confirmed: how many messages are confirmed.
        refused: how many tries to send one were refused.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self.history = History()
        self._patience = patience
        self.confirmed = 0
        self.refused = 0
        self._changed = asyncio.Event()
        self._messages: dict[Position, Message] = {}

    def kept(self, message: Message) -> Message:
        """Returns a message as it is kept: one that came before and is equal, if there is any.

        Each comes to everyone in its room, and its text would be kept as often.
        """
        first = self._messages.setdefault(message.position, message)
        return first if first == message else message

    def ring(self) -> None:
        """Tells those who wait that something has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Waits until something is so, by what clients have seen."""
        async with asyncio.timeout(self._patience):
            while not reached():
                await self._changed.wait()

    async def confirmed_more(self, number: int) -> None:
        """Waits until that many further messages are confirmed."""
        goal = self.confirmed + number
        await self.until(lambda: self.confirmed >= goal)

    def add(self, sending: Sending, outcome: Outcome, seq: int = 0) -> None:
        """Notes how a try to send a message ended."""
        sender, id_, content = sending.sender, sending.id, sending.content
        self.history.sends.append(Send(sending.room, sender, id_, content, outcome, seq))
        self.confirmed += outcome is Outcome.CONFIRMED
        self.refused += outcome is Outcome.REFUSED
        self.ring()
