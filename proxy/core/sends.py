"""The sends on their way to the disk: how many may be, and how long they are held.

While the server is away, sends are held for it, up to a bound in bytes and in time.
While it is there but slow, senders wait before the bound is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from gen.chat import ChatMessage
from proxy import errors
from proxy.config import Config
from proxy.core.client import Client
from proxy.core.outstanding import Outstanding, Unconfirmed
from proxy.errors import Refused


class Sends:
    """All sends that are not confirmed.

    Args:
        config: the settings.
        give_up: is called with each send that was held for too long.

    Attributes:
        linked: whether the server is there.
    """

    def __init__(self, config: Config, give_up: Callable[[Unconfirmed[Client]], None]) -> None:
        self._config = config
        self._give_up = give_up
        self._outstanding: Outstanding[Client] = Outstanding()
        # From so much on, senders wait.
        self._busy_bytes = config.hold_bytes // 2
        # Ends when nothing is left; there while somebody waits for that.
        self._confirmed: asyncio.Future[None] | None = None
        self._calm = asyncio.Event()
        self._calm.set()
        self.linked = False
        self._holding = True
        self._deadline: asyncio.TimerHandle | None = None
        # When the oldest that is held has been held for long enough.
        self._overdue: asyncio.TimerHandle | None = None
        self._start_hold()

    def __iter__(self) -> Iterator[Unconfirmed[Client]]:
        return iter(self._outstanding)

    @property
    def waiting_messages(self) -> int:
        """How many are not confirmed."""
        return len(self._outstanding)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes those are counted with."""
        return self._outstanding.size

    @property
    def is_calm(self) -> bool:
        """Whether `calm` would return at once."""
        return self._calm.is_set()

    async def calm(self) -> None:
        """Waits while the server is slow to confirm: backpressure for senders.

        While the server is away it does not wait: `check` refuses, past a bound.
        """
        # Of all who were waked, those before this one may have sent enough again.
        while not self._calm.is_set():
            await self._calm.wait()

    async def all_settled(self, timeout: float) -> bool:
        """Waits until all that was sent is confirmed.

        Args:
            timeout: how long at most, in seconds.

        Returns:
            Whether that was long enough.
        """
        if not self._outstanding:
            return True
        if self._confirmed is None:
            self._confirmed = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._confirmed}, timeout=timeout)
        return not self._outstanding

    def check(self) -> None:
        """Checks that one more may be held.

        Raises:
            Refused: the server is away, and no more is held for it.
        """
        if not self._holding or self._outstanding.size > self._config.hold_bytes:
            raise Refused(errors.unavailable())

    def add(self, send: Unconfirmed[Client]) -> None:
        """Keeps a send until it is settled."""
        if not self.linked:
            send.held_since = asyncio.get_running_loop().time()
        self._outstanding.add(send)
        if self._outstanding.size > self._busy_bytes:
            self._note_busy()

    def find(self, ref: int) -> Unconfirmed[Client] | None:
        """Returns the send of a reference, if it is not settled."""
        return self._outstanding.find(ref)

    def settle(self, message: ChatMessage) -> Unconfirmed[Client] | None:
        """Confirms the oldest send of a message that arrived, if there is one.

        Behind it, or several of them, `note_settled` is to be called.
        """
        return self._outstanding.settle(message)

    def settle_ref(self, ref: int) -> Unconfirmed[Client] | None:
        """Settles a send that the server answered; `None` if that was done before.

        Behind it, or several of them, `note_settled` is to be called.
        """
        return self._outstanding.settle_ref(ref)

    def note_settled(self) -> None:
        """Lets those go on who wait until less, or nothing, is left."""
        if not self._calm.is_set() and self._outstanding.size <= self._busy_bytes:
            self._calm.set()
        if self._confirmed is not None and not self._outstanding:
            self._confirmed.set_result(None)
            self._confirmed = None

    def connected(self) -> None:
        """The server is there."""
        self.linked = self._holding = True
        self._note_busy()
        for timer in (self._deadline, self._overdue):
            if timer is not None:
                timer.cancel()
        self._deadline = self._overdue = None

    def disconnected(self) -> None:
        """The server is away: what is sent is held until it is back.

        What was held before is not held for longer in all, over however many links.
        """
        self.linked = False
        self._calm.set()
        now = asyncio.get_running_loop().time()
        for send in self._outstanding:
            if send.held_since is None:
                send.held_since = now
        self._start_hold()
        self._give_up_overdue()

    def _start_hold(self) -> None:
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._config.hold_seconds, self._stop_hold)

    def _give_up_overdue(self) -> None:
        """Gives up what has been held for long enough; they are in the order of that."""
        loop = asyncio.get_running_loop()
        self._overdue = None
        for send in self._outstanding:
            end = (send.held_since or 0.0) + self._config.hold_seconds
            if end > loop.time():
                self._overdue = loop.call_at(end, self._give_up_overdue)
                break
            self._outstanding.settle_ref(send.ref)
            self._give_up(send)
        self.note_settled()

    def _stop_hold(self) -> None:
        """The server stays away: gives up what was held, and holds no more."""
        self._holding = False
        for send in self._outstanding:
            self._outstanding.settle_ref(send.ref)
            self._give_up(send)
        self.note_settled()

    def _note_busy(self) -> None:
        if self.linked and self._outstanding.size > self._busy_bytes:
            self._calm.clear()
