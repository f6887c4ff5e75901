"""One open stream of a client or a proxy, seen from the server's core.

A stream has a mailbox, and one task that writes from it. Items of the mailbox
are encoded already, once for all the streams that get them.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol

from structlog.contextvars import get_contextvars

from chat.core.encoded import EncodedMessage, Notice
from chat.core.mailbox import Mailbox
from chat.core.membership import Membership
from chat.errors import SlowConsumer
from gen.chat import ChatMessage
from hosting.logs import get_logger

log = get_logger(__name__)

# The most that is taken out of a mailbox at a time, and so the size of a batch, and of
# all that is neither in the mailbox nor on the wire.
_CHUNK_BYTES: Final = 256 * 1024


class Sender(Protocol):
    """The outgoing side of a call."""

    async def send_message(self, message: bytes) -> None:
        """Sends an encoded message; waits while the client's window is closed."""


class LiveStream(ABC):
    """A stream that may be in rooms.

    Args:
        mailbox_bytes: how much may wait before the stream is cut off.

    Attributes:
        is_link: whether it is a proxy's, which is in rooms for its clients.
        rooms: the rooms that it is in.
    """

    is_link = False

    def __init__(self, mailbox_bytes: int) -> None:
        self.rooms: dict[str, Membership] = {}
        self._mailbox = Mailbox(mailbox_bytes)
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._finishing = False
        self._writer: asyncio.Task[None] | None = None
        # Any task may put something into the mailbox.
        self._ids = get_contextvars()

    @abstractmethod
    def deliver(self, message: EncodedMessage) -> None:
        """Puts a message of a room into the mailbox."""

    @abstractmethod
    def tell(self, notice: Notice) -> None:
        """Puts what is told of a room beside its messages into the mailbox."""

    @abstractmethod
    def missed(self, message: ChatMessage) -> None:
        """Tells the client that a message of a room could not be delivered to it.

        The next message does not follow the one before. Never fails.
        """

    @abstractmethod
    def renewed(self, room_id: str, last_seq: int) -> None:
        """Tells the client that a room has another history now, up to `last_seq`.

        The next message does not follow the one before. Never fails.
        """

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be written."""
        return self._mailbox.size

    @property
    def overflowed(self) -> bool:
        """Whether more waited than may."""
        return self._mailbox.overflowed

    @property
    def is_behind(self) -> bool:
        """Whether the mailbox is more than half full: what heals itself need not be told."""
        return not self._writable.is_set()

    def wake(self) -> None:
        """Lets the writer look for something to write."""
        self._changed.set()

    def put(self, item: bytes) -> None:
        """Puts an encoded message into the mailbox, and wakes the writer."""
        waiting = self._mailbox.size
        self._mailbox.put(item)
        if self._mailbox.overflowed:
            self._interrupt_writer(waiting)
        if self._mailbox.size > self._mailbox.limit // 2:
            self._writable.clear()
        self._changed.set()

    async def wait_writable(self) -> None:
        """Waits until the mailbox is at most half full: backpressure for replays."""
        await self._writable.wait()

    def finish(self) -> None:
        """Lets `write_to` return once the mailbox is empty."""
        self._finishing = True
        self._changed.set()

    async def write_to(self, sender: Sender) -> None:
        """Writes all that comes into the mailbox, until `finish`.

        Raises:
            SlowConsumer: more waited than may.
        """
        self._writer = asyncio.current_task()
        try:
            await self._write(sender)
        except asyncio.CancelledError:
            if self._mailbox.overflowed:
                raise SlowConsumer from None
            raise

    async def _write(self, sender: Sender) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while items := self._take():
                for item in self._join_items(items):
                    await sender.send_message(item)
                # send_message does not yield while the window has room.
                await asyncio.sleep(0)
            if self._finishing:
                return

    def _interrupt_writer(self, waiting: int) -> None:
        # It may be waiting for a client that reads nothing ever again.
        writer, self._writer = self._writer, None
        if writer is not None:
            log.info("slow consumer cut off", waiting=waiting, **self._ids)
            writer.cancel()

    def _take(self) -> list[bytes]:
        if self._mailbox.overflowed:
            raise SlowConsumer
        items = self._mailbox.take(_CHUNK_BYTES)
        if self._mailbox.size <= self._mailbox.limit // 2:
            self._writable.set()
        return items

    def _join_items(self, items: list[bytes]) -> Sequence[bytes]:
        return items
