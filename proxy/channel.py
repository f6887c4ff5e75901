"""grpclib's channel, over connections that are quick with data and can be given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from grpclib import Status, client
from grpclib.client import Handler
from grpclib.protocol import EventsProcessor, H2Protocol

from daemon.http2 import DataConnection
from daemon.streams import DataStreams

_CANCEL_AGAIN_SECONDS: Final = 0.1
_STATUSES: Final = frozenset(str(status.value) for status in Status)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task that calls, and waits until it has ended.

    grpclib may raise what the server said in the place of a cancellation: one more call
    has failed then, and the next cancellation ends the task.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)
    if not task.cancelled():
        task.exception()  # who waits for it asks for that, too, or does not care


def status_of(stream: client.Stream[Any, Any]) -> Status | None:
    """The status with which the server ended a call; `None` if it has not said so."""
    # grpclib tells it only of calls whose other side has been ended, too.
    trailers = stream._stream.trailers  # noqa: SLF001
    code = dict(trailers or ()).get("grpc-status", "")
    return Status(int(code)) if code in _STATUSES else None


class _Protocol(H2Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """In place of grpclib's, whose connection is h2's own."""
        h2 = DataConnection(self.h2_config)
        h2.greet(self.config)
        connection = DataStreams(h2, cast(asyncio.Transport, transport), config=self.config)
        connection.flush()
        connection.initialize()
        self.connection = connection
        self.processor = EventsProcessor(self.handler, connection)


class Channel(client.Channel):
    """A channel that gets rid of connections that are no good."""

    def _protocol_factory(self) -> H2Protocol:
        return _Protocol(Handler(), self._config, self._h2_config)

    async def __connect__(self) -> H2Protocol:
        """See grpclib, which takes one for good that was lost as it was made.

        It does if the loss was noticed before whoever waits for the connection has gone
        on; a call on it would end with an AttributeError.
        """
        protocol = await super().__connect__()
        if protocol.processor.connection.is_closing():
            raise ConnectionResetError("the connection was lost as it was made")
        return protocol

    def watch(self) -> Callable[[], bool]:
        """Returns what tells whether the connection that there is now is gone."""
        protocol = self._protocol
        return lambda: protocol is None or protocol.processor.connection.is_closing()

    def abort(self) -> None:
        """Gives up the connection, and what waits to be written on it.

        To close it would wait until that is written: on a dead link, for many minutes.
        """
        protocol = self._protocol
        if protocol is None or protocol.processor.connection.is_closing():
            return
        transport = protocol.processor.connection._transport  # noqa: SLF001 - grpclib offers no other way
        self.close()
        transport.abort()
