"""Links that ended, until nothing is left of them: their streams, and calls under way beside them.

A link that was handed over stays open until its successor has spoken: then the successor's server
knows the users of this proxy, and nobody was away in between.
"""

import asyncio
from contextlib import suppress
from typing import Final

from hosting.grpc.channel import Channel, ended
from hosting.logs import get_logger
from proxy.upstream.conversation import Conversation
from proxy.upstream.opening import OpenLink

log = get_logger(__name__)

# A successor has so long to speak: there may be nothing to say.
_OVERLAP_SECONDS: Final = 1.0
# The same for links to close as the proxy stops.
_STOP_SECONDS: Final = 1.0


class Leaving:
    """Closes links.

    Args:
        call_seconds: the longest time that a call may take.
    """

    def __init__(self, call_seconds: float) -> None:
        self._call_seconds = call_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        # Those that may have calls under way.
        self._channels: set[Channel] = set()

    def add(self, conversation: Conversation, successor: OpenLink | None = None) -> None:
        """Closes a link that ended, behind its successor, if there is one."""
        self._channels = {each for each in self._channels if not each.is_over}
        self._channels.add(conversation.link.channel)
        task = asyncio.create_task(self._close(conversation, successor))
        self._tasks.add(task)
        task.add_done_callback(self._closed)

    async def close(self) -> None:
        """Ends all that is left, as the proxy stops."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        for task in tuple(self._tasks):
            await ended(task)
        for channel in self._channels:
            channel.close()

    async def _close(self, conversation: Conversation, successor: OpenLink | None) -> None:
        if successor is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_OVERLAP_SECONDS):
                    await successor.spoke.wait()
        await conversation.close()
        # By then no call is waited for any more.
        abort = conversation.link.channel.abort
        asyncio.get_running_loop().call_later(self._call_seconds, abort)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("link not closed", exc_info=error)
