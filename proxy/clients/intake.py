"""The bytes of a WebSocket on their way to aiohttp's reader.

aiohttp's reader puts frames together, and takes some that RFC 6455 forbids. It tells neither
that a part of a frame has come nor how many frames made a message. So it gets the bytes from
here, where only the heads of frames are looked at:

===================================  ==========================================
bytes                                effect
===================================  ==========================================
any byte                             a sign of life
a frame without a mask               the connection ends with 1002 (section 5.1)
a message within another             the same (section 5.4)
a close code that nobody may send    the same (section 7.4)
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
from proxy.clients.turns import FREE_WORK, TURN_WORK, Turns

PIECES: Final = 64
"""So many frames that are no whole message count as one call."""

# A reserved bit: in aiohttp's reader this ends the connection with 1002 as well.
BROKEN_FRAME: Final = b"\xf0\x80\0\0\0\0"

# The parts of a frame's head: RFC 6455, section 5.2.
_FIN: Final = 0x80
_OPCODE: Final = 0x0F
_CONTROL: Final = 0x08
_CLOSE: Final = 0x08
_MASK: Final = 0x80
_MASK_BYTES: Final = 4
_TEXT: Final = _FIN | 0x01
# The head of a frame with a mask, and nothing in it.
_SHORTEST: Final = 2 + _MASK_BYTES
_SIZE: Final = 0x7F
_SIZE_IN_2: Final = 126
_SIZE_IN_8: Final = 127
_CODE_BYTES: Final = 2
_LONGEST_CONTROL: Final = 125
# A message that comes to no end within so many halves of a heartbeat never will.
_ENDLESS_AT: Final = 20
# A client that was closed is not read for so long, whenever something has come.
_SLOW_SECONDS: Final = 0.05
# RFC 6455, section 7.4, and what IANA has added to it.
_CLOSE_CODES: Final = frozenset({*range(1000, 1015), *range(3000, 5000)} - {1004, 1005, 1006})


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
        "_in_message",
        "_more",
        "_over",
        "_pieces",
        "_reader",
        "_rest",
        "_slow",
        "_turns",
        "_unfinished",
    )

    def __init__(self, calls: AnyBucket, turns: Turns, hold: Callable[[bool], None]) -> None:
        self._calls = calls
        self._turns = turns
        self._hold = hold
        self._reader: Reader | None = None
        # The bytes to come of the payload of a frame.
        self._rest = 0
        # The head of a frame, as far as it has come.
        self._head = b""
        self._in_message = False
        # At the beginning of a message: nothing is left of any before.
        self._between = True
        self._pieces = 0
        self._over = self._slow = False
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
        if self._between and _is_one_text(data):
            # As most are: there is nothing else to check.
            self._ended = True
            self._pass(data)
        elif self._held:
            self._more.append(data)
        elif not self._over:
            if self._head:
                data, self._head = self._head + data, b""
            self._take(data, 0)
            if self._slow and not self._held:
                self._wait(_SLOW_SECONDS)
        return False, b""

    def feed_eof(self) -> None:
        """Notes that the connection is lost, as aiohttp's reader does."""
        self._over, self._between = True, False
        self._data = b""
        self._more.clear()
        if self._reader is not None:
            self._reader.feed_eof()

    def slow_down(self) -> None:
        """Reads little from now on: the client was sent a close frame.

        It is still read, so that it can take that frame and answer it.
        """
        self._slow, self._between = True, False

    def heard(self) -> bool:
        """Whether the client has shown itself since this was asked before, or could not."""
        heard, self._heard = self._heard or self._held, False
        return heard

    def endless(self) -> bool:
        """Whether a message comes to no end; to be asked once in half a heartbeat."""
        under_way = self._rest or self._head or self._in_message
        stuck = under_way and not (self._ended or self._held)
        self._unfinished = self._unfinished + 1 if stuck else 0
        self._ended = False
        return self._unfinished >= _ENDLESS_AT

    def _take(self, data: bytes, begin: int, most: int = FREE_WORK) -> None:
        """Passes on the frames in some bytes, up to so many pieces."""
        end = len(data)
        at = begin + self._rest
        while at < end:
            head = _head_of(data, at)
            if head is None:
                break
            first, size, payload = head
            if self._forbids(data, at, size, payload):
                self._over, self._between = True, False
                self._pass(data[begin:at] + BROKEN_FRAME)
                return
            if first & _OPCODE == _CLOSE and end < payload + size <= payload + _LONGEST_CONTROL:
                break
            at = payload + size
            self._note(first)
            if self._pieces >= most:
                self._rest = max(at - end, 0)
                at = min(at, end)
                self._pass(data[begin:at])
                self._pause(data, at)
                return
        self._rest = max(at - end, 0)
        self._head = data[at:]
        self._between = not (self._rest or self._head or self._in_message or self._slow)
        self._pass(data[begin:at])

    def _note(self, first: int) -> None:
        """Counts a frame, unless it is a whole message."""
        if first & _CONTROL:
            self._pieces += 1
            return
        if first & _FIN:
            self._ended = True
            self._pieces += self._in_message
            self._in_message = False
        else:
            self._pieces += 1
            self._in_message = True

    def _forbids(self, data: bytes, at: int, size: int, payload: int) -> bool:
        """Whether a frame breaks a rule that aiohttp does not know of."""
        first = data[at]
        if not data[at + 1] & _MASK:
            return True
        if first & _CONTROL:
            closes = first & _OPCODE == _CLOSE and size >= _CODE_BYTES
            return closes and not _may_be_sent(data, payload)
        return self._in_message == bool(first & _OPCODE)

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
        if self._over:
            return
        data, self._data = self._data, b""
        at = self._at
        if self._more:
            data, at = b"".join((data[at:], *self._more)), 0
            self._more.clear()
        self._held = False
        self._take(data, at, TURN_WORK)
        if not self._held:
            self._hold(False)


def _is_one_text(data: bytes) -> bool:
    """Whether bytes are a text in one frame with a mask, and nothing else."""
    there = len(data)
    if there < _SHORTEST or data[0] != _TEXT or not data[1] & _MASK:
        return False
    size = data[1] & _SIZE
    if size < _SIZE_IN_2:
        return there == size + _SHORTEST
    return size == _SIZE_IN_2 and there == (data[2] << 8 | data[3]) + _SHORTEST + 2


def _head_of(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Reads the head of a frame (RFC 6455, section 5.2), if it is all there.

    Returns:
        Its first byte, the size of its payload, and where that begins.
    """
    end = len(data)
    if end - at < 2:
        return None
    size = data[at + 1] & _SIZE
    payload = at + 2 + (data[at + 1] & _MASK and _MASK_BYTES)
    if size == _SIZE_IN_2:
        payload += 2
        size = int.from_bytes(data[at + 2 : at + 4], "big")
    elif size == _SIZE_IN_8:
        payload += 8
        size = int.from_bytes(data[at + 2 : at + 10], "big")
    return None if payload > end else (data[at], size, payload)


def _may_be_sent(data: bytes, payload: int) -> bool:
    """Whether the code in the payload of a close frame is one that clients send."""
    end = payload + _CODE_BYTES
    if len(data) < end:
        return True  # of a frame that is too long to be one, which aiohttp sees
    code = int.from_bytes(data[payload:end], "big")
    mask = int.from_bytes(data[payload - _MASK_BYTES : end - _MASK_BYTES], "big")
    return code ^ mask in _CLOSE_CODES
