"""The bytes of a WebSocket on their way to aiohttp's reader.

aiohttp's reader puts frames together. It tells neither that a part of a frame has come nor
how many frames made a message. So it gets the bytes from here, where only the heads of frames
are looked at:

===================================  ==========================================
bytes                                effect
===================================  ==========================================
any byte                             a sign of life
a frame that RFC 6455 forbids        the reader gets a close frame in its place: the client
                                     is closed behind what it sent before. All that follows
                                     is thrown away. See `proxy.clients.frame_rules`
a close frame                        all that follows is thrown away: RFC 6455, section 1.4
pieces of messages, pings, pongs     `PIECES` of them are charged as one call. A client
                                     that has none left is read when it has one again.
                                     More than a few take turns: see `proxy.clients.turns`
===================================  ==========================================

Whole messages are charged by their contents: see `proxy.clients.session`.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol, Self

from hosting.rate_limits import AnyBucket
from proxy.clients import frame_rules
from proxy.clients.frame_rules import CONTROL, FIN, Violation, is_one_text
from proxy.clients.turns import FREE_WORK, TURN_WORK, Turns

PIECES: Final = 64
"""So many frames that are no whole message count as one call."""

# A message that comes to no end within so many halves of a heartbeat never will.
_ENDLESS_AT: Final = 20
# A client that is closed, or has closed, is not read for so long, whenever something has come.
_SLOW_SECONDS: Final = 0.05


class Reader(Protocol):
    """aiohttp's reader of a WebSocket."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Takes bytes."""

    def feed_eof(self) -> None:
        """No more will come."""


class Intake:
    """Passes the bytes of one connection to its reader.

    Args:
        calls: pays for pieces.
        turns: gives turns to all clients.
        hold: stops reading from the socket, or goes on.
        most: the most bytes of a message.

    Attributes:
        violation: the rule that the client has broken.
        lost: whether the connection is lost.
    """

    __slots__ = (
        "_at",
        "_between",
        "_calls",
        "_data",
        "_ended",
        "_head",
        "_heard",
        "_held",
        "_hold",
        "_message",
        "_more",
        "_most",
        "_over",
        "_pieces",
        "_reader",
        "_rest",
        "_slow",
        "_turns",
        "_unfinished",
        "_waiter",
        "lost",
        "violation",
    )

    def __init__(
        self, calls: AnyBucket, turns: Turns, hold: Callable[[bool], None], most: int
    ) -> None:
        self.violation: Violation | None = None
        self._calls = calls
        self._turns = turns
        self._hold = hold
        self._most = most
        self._reader: Reader | None = None
        # The bytes to come of the payload of a frame.
        self._rest = 0
        # The head of a frame, as far as it has come.
        self._head = b""
        # The bytes of a message that is not whole yet.
        self._message: int | None = None
        # At the beginning of a message: nothing is left of any before.
        self._between = True
        self._pieces = 0
        self._over = self._slow = False
        self.lost = False
        # Exists while somebody waits for that.
        self._waiter: asyncio.Future[None] | None = None
        # The bytes that wait for a turn, the offset of the next one, and the bytes behind.
        self._held = False
        self._data, self._at = b"", 0
        self._more: list[bytes] = []
        # Since the last beat.
        self._heard = self._ended = False
        self._unfinished = 0

    def read_by(self, reader: Reader) -> Self:
        """Gives the bytes to a reader from now on."""
        self._reader = reader
        return self

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Takes bytes from the socket, as aiohttp's reader does."""
        self._heard = True
        if self._between and is_one_text(data, self._most):
            # As most are: there is nothing else to check.
            self._ended = True
            self._pass(data)
            return False, b""
        if self._held:
            if not self._over:
                self._more.append(data)
            return False, b""
        # From the bytes behind the end on: most clients send none.
        slow = self._slow
        if not self._over:
            if self._head:
                data, self._head = self._head + data, b""
            self._take(data, 0)
        if slow and not self._held:
            self._wait(_SLOW_SECONDS)
        return False, b""

    def feed_eof(self) -> None:
        """Notes that the connection is lost, as aiohttp's reader does."""
        self._over, self._between = True, False
        self._data = b""
        self._more.clear()
        self.lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._reader is not None:
            self._reader.feed_eof()

    def slow_down(self) -> None:
        """Reads little from now on: the client was sent a close frame.

        It is still read, so that it can take that frame and answer it.
        """
        self._slow, self._between = True, False

    async def is_lost(self, seconds: float) -> bool:
        """Waits until the connection is lost, for so long at most; returns whether it is."""
        if not self.lost:
            self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._waiter,), timeout=seconds)
        return self.lost

    def heard(self) -> bool:
        """Whether the client has shown itself since this was asked before, or could not."""
        heard, self._heard = self._heard or self._held, False
        return heard

    def endless(self) -> bool:
        """Whether a message comes to no end; to be asked once in half a heartbeat."""
        under_way = self._rest or self._head or self._message is not None
        stuck = under_way and not (self._ended or self._held)
        self._unfinished = self._unfinished + 1 if stuck else 0
        self._ended = False
        return self._unfinished >= _ENDLESS_AT

    def _take(self, data: bytes, begin: int, most: int = FREE_WORK) -> None:
        """Passes on the frames in some bytes, up to so many pieces."""
        end = len(data)
        at = begin + self._rest
        while at < end:
            head = frame_rules.head_of(data, at)
            if head is None:
                break
            first, size, payload = head
            violation = frame_rules.violation(data, at, size, payload, self._message, self._most)
            if violation is not None:
                self._break(violation, data[begin:at])
                return
            is_last = frame_rules.is_close(first)
            if is_last and end - payload < size:
                break
            at = payload + size
            if is_last:
                self._finish(data[begin:at])
                return
            self._note(first, size)
            if self._pieces >= most:
                self._rest = max(at - end, 0)
                at = min(at, end)
                self._pass(data[begin:at])
                self._pause(data, at)
                return
        self._rest = max(at - end, 0)
        self._head = data[at:]
        under_way = self._rest or self._head or self._message is not None
        self._between = not (under_way or self._slow)
        self._pass(data[begin:at])

    def _note(self, first: int, size: int) -> None:
        """Counts a frame, unless it is a whole message."""
        if first & CONTROL:
            self._pieces += 1
        elif first & FIN:
            self._ended = True
            self._pieces += self._message is not None
            self._message = None
        else:
            self._pieces += 1
            self._message = (self._message or 0) + size

    def _break(self, violation: Violation, before: bytes) -> None:
        """Passes on what came before a forbidden frame, and nothing more."""
        self.violation = violation
        self._finish(before + frame_rules.close_frame(violation.code))

    def _finish(self, data: bytes) -> None:
        """Passes on the last bytes. A handler may be busy: it may be long before it reads them."""
        self._over = self._slow = True
        self._between = False
        self._rest, self._head, self._message = 0, b"", None
        self._pass(data)

    def _pass(self, data: bytes) -> None:
        if data and self._reader is not None:
            self._reader.feed_data(data)

    def _pause(self, data: bytes, at: int) -> None:
        """Charges the pieces that were passed on, and waits for the next turn."""
        wait = self._calls.spend(monotonic(), self._pieces / PIECES)
        self._pieces = 0
        self._wait(wait, data, at)

    def _wait(self, seconds: float, data: bytes = b"", at: int = 0) -> None:
        """Reads nothing for some time, and then the bytes that were left first."""
        self._data, self._at = data, at
        self._held, self._between = True, False
        self._hold(True)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._turns.call, self._go_on)
        else:
            self._turns.call(self._go_on)

    def _go_on(self) -> None:
        self._held = False
        if not self._over:
            data, self._data = self._data, b""
            at = self._at
            if self._more:
                data, at = b"".join((data[at:], *self._more)), 0
                self._more.clear()
            self._take(data, at, TURN_WORK)
        if not self._held:
            self._hold(False)
