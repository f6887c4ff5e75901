"""A TCP link that breaks on demand: between proxy and server, or clients and proxy."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final

from hosting.addresses import split_address

_NO_LINGER: Final = struct.pack("ii", 1, 0)
# Bytes under way at a time: a delay makes a link long, not narrow.
_PIECES: Final = 16
# A piece, and when it is due. An empty one is the end of the stream, `None` a reset.
_Pieces = asyncio.Queue[tuple[float, bytes | None]]


class Way(Enum):
    """A direction of a link."""

    THERE = "to the server"
    BACK = "to the client"


class Link:
    """A TCP link to a server that can be broken in several ways, and restored.

    Bytes are never changed or reordered. `restore` ends every kind of break.

    Args:
        address: ``host:port`` of the server.
        piece_bytes: size of the pieces that are passed on.

    Attributes:
        address: ``host:port`` of its near end.
        accepted: number of connections so far.
    """

    def __init__(self, address: str, piece_bytes: int = 64 * 1024) -> None:
        self.address = ""
        self.accepted = 0
        self._target = split_address(address)
        self._piece_bytes = piece_bytes
        self._delay = 0.0
        self._refuses = False
        self._at_once = asyncio.Event()
        self._flows = {way: asyncio.Event() for way in Way}
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.restore()

    @classmethod
    @asynccontextmanager
    async def to(cls, address: str, piece_bytes: int = 64 * 1024) -> AsyncIterator[Link]:
        """Opens a link on a free port; its far end need not listen yet."""
        link = cls(address, piece_bytes)
        listener = await asyncio.start_server(link._accept, "127.0.0.1", 0)
        host, port = listener.sockets[0].getsockname()
        link.address = f"{host}:{port}"
        try:
            yield link
        finally:
            listener.close()
            link.cut()
            link.restore()
            for task in link._tasks:
                task.cancel()
            await asyncio.gather(*link._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Resets all connections, and each new one, at both ends."""
        self._refuses = True
        for connection in self._open:
            connection.reset()

    def drop(self, ways: Iterable[Way] = Way) -> None:
        """Stops all bytes, even the end of a connection, silently.

        As when packets vanish: buffers fill and new connections wait. Nothing is lost for
        good: bytes under way arrive after `restore`, as TCP sends them again.

        Args:
            ways: the directions; both by default.
        """
        for way in ways:
            self._flows[way].clear()

    def halve(self, way: Way) -> None:
        """Stops all bytes in one direction only."""
        self.drop((way,))

    def sever(self) -> None:
        """Stops all bytes, like `drop`, but loses those under way for good.

        Present connections end with a reset after `restore`, as when one end has given up;
        later ones go on then.
        """
        self.drop()
        self.strand()

    def strand(self) -> None:
        """Stops all bytes of the present connections, silently.

        New connections get through, as when a middlebox has lost its state. The stranded
        ones end with a reset after `restore`.
        """
        for connection in self._open:
            connection.lost = True

    def delay(self, seconds: float) -> None:
        """Delays new bytes in each direction."""
        self._delay = seconds
        self._at_once.clear()

    def restore(self) -> None:
        self._refuses, self._delay = False, 0.0
        self._at_once.set()
        for connection in self._open:
            if connection.lost:
                connection.reset()
        for flows in self._flows.values():
            flows.set()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted += 1
        far = await self._connect()
        if far is None:
            _reset(writer)
            return
        connection = _Connection(writer, far[1])
        self._open.add(connection)
        task = asyncio.create_task(self._relay(connection, reader, far[0]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._refuses:
            connection.reset()

    async def _connect(self) -> tuple[StreamReader, StreamWriter] | None:
        if not self._refuses:
            with suppress(OSError):  # nobody listens
                return await asyncio.open_connection(*self._target)
        return None

    async def _relay(self, connection: _Connection, near: StreamReader, far: StreamReader) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for way, source, sink in (
                    (Way.THERE, near, connection.far),
                    (Way.BACK, far, connection.near),
                ):
                    pieces: _Pieces = asyncio.Queue(_PIECES)
                    group.create_task(self._take(source, pieces))
                    group.create_task(self._bring(way, pieces, sink, connection))
        finally:
            self._open.discard(connection)
            connection.close()

    async def _take(self, source: StreamReader, pieces: _Pieces) -> None:
        loop = asyncio.get_running_loop()
        data: bytes | None = b"-"
        while data:
            try:
                data = await source.read(self._piece_bytes)
            except OSError:
                data = None
            await pieces.put((loop.time() + self._delay, data))

    async def _bring(
        self, way: Way, pieces: _Pieces, sink: StreamWriter, connection: _Connection
    ) -> None:
        data: bytes | None = b"-"
        while data:
            due, data = await pieces.get()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._at_once.wait()
            await self._flows[way].wait()
            if connection.lost:
                await connection.over.wait()
            await _write(sink, data)


class _Connection:
    """A pair of connections, one to each end.

    Attributes:
        lost: whether its bytes are discarded from now on.
        over: set when it is reset.
    """

    def __init__(self, near: StreamWriter, far: StreamWriter) -> None:
        self.near = near
        self.far = far
        self.lost = False
        self.over = asyncio.Event()

    def reset(self) -> None:
        self.over.set()
        _reset(self.near)
        _reset(self.far)

    def close(self) -> None:
        self.near.close()
        self.far.close()


async def _write(sink: StreamWriter, data: bytes | None) -> None:
    if data is None:
        _reset(sink)
    elif not sink.transport.is_closing():
        # The peer is gone; the other direction reports it.
        with suppress(OSError):
            if data:
                sink.write(data)
                await sink.drain()
            else:
                sink.write_eof()
    await asyncio.sleep(0)  # each piece arrives by itself


def _reset(writer: StreamWriter) -> None:
    """Ends a connection with a reset (RFC 9293, section 3.10.5)."""
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        writer.transport.abort()
