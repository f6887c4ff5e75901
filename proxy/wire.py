"""Writing to a gRPC stream at once, where grpclib would let it wait for a turn of the loop.

uvloop writes to its sockets when it has gone through all that is ready, such as the
frames of hundreds of clients. A batch that is full need not wait for that: the server
begins with it while the proxy goes on.
"""

from __future__ import annotations

import struct
from typing import Any

from grpclib.client import Stream


class Wire:
    """The outgoing side of an open stream.

    Args:
        stream: the stream; its request was sent.
    """

    def __init__(self, stream: Stream[Any, Any]) -> None:
        # grpclib writes by coroutines alone.
        self._stream = stream._stream  # noqa: SLF001
        self._h2 = self._stream._h2_connection  # noqa: SLF001
        self._transport = self._stream._transport  # noqa: SLF001
        if self._transport.get_extra_info("ssl_object") is None:
            # With more than this in its buffer, uvloop tries to write at once.
            self._transport.set_write_buffer_limits(high=0)

    def write_now(self, message: bytes) -> bool:
        """Writes an encoded message, unless something would have to be waited for.

        Nobody else may be in the middle of writing one.

        Returns:
            Whether it did.
        """
        stream, connection = self._stream, self._stream.connection
        # Length-Prefixed-Message in gRPC's description of its protocol.
        data = struct.pack(">?I", False, len(message)) + message
        if not (connection.write_ready.is_set() and stream.closable and stream.id):
            return False
        window = self._h2.local_flow_control_window(stream.id)
        if len(data) > min(window, self._h2.max_outbound_frame_size):
            return False
        self._h2.send_data(stream.id, data)
        self._transport.write(self._h2.data_to_send())
        connection.data_send_process()
        return True
