"""Timers of one connection: it ends in time, whatever its client does or leaves undone.

- `StallTimer`: the client does not read. Every answer to a PING is kept until it is read, so
  nothing more is received meanwhile; a socket that takes nothing for long is aborted.
- `IdleTimer`: the client makes no call.
- `HalfClosingTransport`: the client does not stop sending while the last frames are written.

Silence, a link that died, is the business of `hosting.heartbeat`.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

# More than is on its way to a server that reads, as a rule.
_MOST_THROWN_AWAY: Final = 1024 * 1024


class HalfClosingTransport:
    """A transport whose last bytes arrive, also at a client that does not stop sending.

    To close a socket while data waits in it makes the kernel throw away what the
    peer has not read yet. So the last bytes are followed by an end of the stream (TCP's
    FIN), and the socket is closed when the client has closed its own, or its time is up.

    Args:
        linger_seconds: how long the client has to close its side.
    """

    def __init__(self, transport: asyncio.Transport, linger_seconds: float) -> None:
        self._transport = transport
        self._seconds = linger_seconds
        self._closing = False
        self._thrown_away = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """See asyncio."""
        self._transport.write(data)

    def get_extra_info(self, name: str) -> Any:
        """See asyncio."""
        return self._transport.get_extra_info(name)

    def is_closing(self) -> bool:
        """Returns whether nothing more is to be written."""
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Ends the connection; what the client still sends is thrown away."""
        if not self.is_closing():
            self._closing = True
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:  # TLS has an end of its own, and waits for the client's
                self._transport.close()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._seconds, self._transport.abort)

    def throw_away(self, size: int) -> None:
        """Counts bytes that came after the end; a client that goes on is not read any more."""
        self._thrown_away += size
        if self._thrown_away > _MOST_THROWN_AWAY and not self._transport.is_closing():
            self._transport.pause_reading()

    def stop(self) -> None:
        """Stops the timer: the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()


class StallTimer:
    """Stops reading from a client that does not read, and aborts it if it stays so.

    Args:
        seconds: how long the client's socket may be full without taking anything.
        read_on: resumes reading.
    """

    def __init__(
        self, transport: asyncio.Transport, seconds: float, read_on: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._seconds = seconds
        self._read_on = read_on
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """Whether nothing is read from the client."""
        return self._timer is not None

    def begin(self) -> None:
        """Stops reading: the client's socket is full."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._watch()

    def end(self) -> None:
        """Reads on: the client has read, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._transport.is_closing():
            self._read_on()

    def _watch(self) -> None:
        waiting = self._transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._check, waiting)

    def _check(self, before: int) -> None:
        # It may have grown: calls that were about to write have done so.
        if self._transport.get_write_buffer_size() != before:
            self._watch()
        else:
            self._transport.abort()


class IdleTimer:
    """Tells when a connection has had no call for a while.

    Args:
        seconds: how long.
        has_calls: tells whether there is a call now.
        on_idle: is called once, when there was none for that long.
    """

    def __init__(
        self, seconds: float, has_calls: Callable[[], object], on_idle: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._has_calls = has_calls
        self._on_idle = on_idle
        self._since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._check)

    def call_ended(self) -> None:
        """Notes the time: a call has ended."""
        self._since = self._loop.time()

    def stop(self) -> None:
        """Stops the timer."""
        self._timer.cancel()

    def _check(self) -> None:
        # There is one timer for a connection, and none for each of its calls.
        since = self._loop.time() if self._has_calls() else self._since
        left = since + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check)
        else:
            self._on_idle()
