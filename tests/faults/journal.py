"""The record of what clients do and see, with wake-ups for waiting tests."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.history import History, Message, Outcome, Position, Send
from tests.support import PATIENCE_SECONDS


@dataclass(slots=True)
class Sending:
    """A message that is not confirmed yet.

    Attributes:
        tries: number of attempts that were given up.
        waits: whether an answer is due.
    """

    room: str
    sender: str
    id: str
    content: str
    tries: int = 0
    waits: bool = False

    @property
    def request_id(self) -> str:
        """The request id of this attempt."""
        return f"{self.id} {self.tries}"


class Journal:
    """The record that all clients of a test share.

    Args:
        patience: longest wait for anything, in seconds.

    Attributes:
        history: input of the checker.
        confirmed: number of confirmed messages.
        refused: number of refused attempts.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self.history = History()
        self._patience = patience
        self.confirmed = 0
        self.refused = 0
        self._changed = asyncio.Event()
        self._messages: dict[Position, Message] = {}

    def kept(self, message: Message) -> Message:
        """Returns an equal message that was kept before, else this one.

        A message reaches everyone in its room; its text is kept once.
        """
        first = self._messages.setdefault(message.position, message)
        return first if first == message else message

    def ring(self) -> None:
        """Wakes waiters after a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Waits until a condition holds."""
        async with asyncio.timeout(self._patience):
            while not reached():
                await self._changed.wait()

    async def confirmed_more(self, number: int) -> None:
        """Waits until that many further messages are confirmed."""
        goal = self.confirmed + number
        await self.until(lambda: self.confirmed >= goal)

    def add(self, sending: Sending, outcome: Outcome, seq: int = 0, epoch: str = "") -> None:
        """Records the outcome of an attempt to send."""
        sender, id_, content = sending.sender, sending.id, sending.content
        self.history.sends.append(Send(sending.room, sender, id_, content, outcome, seq, epoch))
        self.confirmed += outcome is Outcome.CONFIRMED
        self.refused += outcome is Outcome.REFUSED
        self.ring()
