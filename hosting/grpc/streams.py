"""grpclib's streams, that do less for each message."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from grpclib.exceptions import ProtocolError
from grpclib.protocol import Buffer, Connection, Stream
from grpclib.utils import Wrapper

# So many bytes are acknowledged together. h2 tells the peer only when half a window can be
# opened, so both together have to be less than the smallest window, of 64 KiB.
_ACK_BYTES: Final = 16 * 1024


class ByteBuffer(Buffer):
    """The bytes of a stream that are not read yet.

    grpclib reads the prefix of a message, then the message (Length-Prefixed-Message
    in gRPC's description of its protocol). Its own buffer keeps an object for each
    frame: a message in frames of one byte takes two hundred times its size.

    Args:
        ack: opens the window by so many bytes.
    """

    def __init__(self, ack: Callable[[int], None]) -> None:
        super().__init__(ack)
        self._ack = ack
        # Whether the prefix of a message was read, and the message not.
        self._in_message = False
        self._received = bytearray()
        # Received bytes for which the window is open again; read bytes for which it is not.
        self._allowed = 0
        self._owed = 0
        self._news = asyncio.Event()

    def add(self, data: bytes, ack_size: int) -> None:
        """Takes the data of a frame; its padding counts for the window, and is not kept."""
        self._received += data
        if ack_size > len(data):
            self._ack(ack_size - len(data))
        self._news.set()

    def eof(self) -> None:
        """Notes that nothing more will come."""
        self._eof = True
        self._news.set()

    def unacked_size(self) -> int:
        """Returns the bytes for which the window is still closed."""
        return len(self._received) - self._allowed + self._owed

    async def read(self, size: int) -> bytes:
        """Returns the next bytes of the stream; none at its end.

        Raises:
            ProtocolError: the stream ends within a message.
        """
        while len(self._received) < size and not self._eof:
            if self._in_message or self._received:
                # Its other half may be more than there is room for in the window.
                self._open_window()
            self._news.clear()
            await self._news.wait()
        data = self._take(size)
        if len(data) < size and (data or self._in_message):
            raise self.cut_short()
        self._in_message = not self._in_message
        return data

    def cut_short(self) -> Exception:
        """The error of a message that ends before it is whole."""
        return ProtocolError("the stream ended within a message")

    def _open_window(self) -> None:
        """Lets the peer send as much again as it has sent."""
        due, self._owed, self._allowed = self.unacked_size(), 0, len(self._received)
        self._ack(due)

    def _take(self, size: int) -> bytes:
        data = bytes(self._received[:size])
        del self._received[:size]
        allowed = min(self._allowed, len(data))
        self._allowed -= allowed
        self._owed += len(data) - allowed
        if self._owed >= _ACK_BYTES:
            due, self._owed = self._owed, 0
            self._ack(due)
        return data


class DataStream(Stream):
    """A stream whose data are quick to send and to receive."""

    def init_stream(self, stream_id: int, connection: Connection) -> None:
        """See grpclib."""
        super().init_stream(stream_id, connection)
        self.buffer = ByteBuffer(partial(connection.ack, stream_id))

    async def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """See grpclib."""
        if end_stream or not self.send_now(data):
            await super().send_data(data, end_stream)

    def send_now(self, data: bytes) -> bool:
        """Sends data that fit into a frame and both windows, unless the socket is full.

        Nobody else may be in the middle of sending on the stream.

        Returns:
            False if it did not.
        """
        connection, h2 = self.connection, self._h2_connection
        if not (self.id and connection.write_ready.is_set() and self.closable):
            return False
        if len(data) > min(h2.local_flow_control_window(self.id), h2.max_outbound_frame_size):
            return False
        h2.send_data(self.id, data)
        self._transport.write(h2.data_to_send())
        self.data_sent += len(data)
        connection.data_sent += len(data)
        connection.data_send_process()
        return True


class DataStreams(Connection):
    """A connection of such streams."""

    def create_stream(
        self, *, stream_id: int | None = None, wrapper: Wrapper | None = None
    ) -> DataStream:
        """See grpclib."""
        return DataStream(
            self, self._connection, self._transport, stream_id=stream_id, wrapper=wrapper
        )
