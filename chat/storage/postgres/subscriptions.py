"""The channels of the bus that a node listens to, over whichever link there is.

Whoever begins to listen waits until the bus has confirmed that, but not for long.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from chat.storage.postgres.hint_payloads import EVERYBODY
from chat.storage.postgres.link import Link

# How long a room waits for its channel before it is followed without.
_PATIENCE_SECONDS: Final = 1.0


class Subscriptions:
    """What is to be listened to, and what is.

    Args:
        on_late: is called when a channel is heard that somebody did not wait for any more: it
            may have told something before.
        answer_seconds: how long the bus may take.
    """

    def __init__(self, on_late: Callable[[], None], answer_seconds: float) -> None:
        self._on_late = on_late
        self._answer_seconds = answer_seconds
        self._wanted: set[str] = {EVERYBODY}
        self._heard: set[str] = set()
        self._changed = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._impatient = False

    async def add(self, channel: str, *, waits: bool) -> None:
        """Begins to listen to a channel.

        Args:
            channel: the channel.
            waits: whether to wait until it is heard, if that does not take long.
        """
        self._wanted.add(channel)
        if channel in self._heard or not waits:
            return
        self._changed.set()
        if channel not in self._waiting:
            self._waiting[channel] = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([self._waiting[channel]], timeout=_PATIENCE_SECONDS)
        if not done:
            self._impatient = True

    def discard(self, channel: str) -> None:
        """Listens to a channel no longer."""
        self._wanted.discard(channel)
        self._changed.set()

    async def begin(self, link: Link) -> None:
        """Listens to what is missing, over a link."""
        missing = self._wanted - self._heard
        if missing:
            async with asyncio.timeout(self._answer_seconds):
                await link.subscribe(missing)
            self._heard |= missing
        if self._impatient:
            self._impatient = False
            self._on_late()
        self._release([channel for channel in self._waiting if channel in self._heard])

    async def keep(self, link: Link) -> None:
        """Listens to what is wanted from now on, and to nothing else; never returns."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.begin(link)
            unwanted = self._heard - self._wanted
            # Whoever wants one of them again meanwhile has to wait for its subscription.
            self._heard -= unwanted
            if unwanted:
                async with asyncio.timeout(self._answer_seconds):
                    await link.unsubscribe(unwanted)

    def end(self) -> None:
        """The link is gone: nothing is heard, and nobody waits for it."""
        self._heard.clear()
        self._release(list(self._waiting))

    def _release(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._waiting.pop(channel).set_result(None)
