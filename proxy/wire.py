"""Writing to a gRPC stream at once, where grpclib would let it wait for a turn of the loop.

uvloop writes to its sockets when it has gone through all that is ready, such as the
frames of hundreds of clients. A batch need not wait for that: the server begins with it
while the proxy goes on.
"""

from __future__ import annotations

import struct
from typing import Any, Final, cast

from grpclib.client import Stream

from hosting.grpc.streams import DataStream

# Length-Prefixed-Message in gRPC's description of its protocol.
_PREFIX: Final = struct.Struct(">?I")


class Wire:
    """The outgoing side of an open stream.

    Args:
        stream: the stream, of a `hosting.grpc.channel.Channel`; its request was sent.
    """

    def __init__(self, stream: Stream[Any, Any]) -> None:
        # grpclib writes by coroutines alone.
        self._stream = cast(DataStream, stream._stream)  # noqa: SLF001
        transport = self._stream._transport  # noqa: SLF001 - as above
        if transport.get_extra_info("ssl_object") is None:
            # With more than this in its buffer, uvloop tries to write at once.
            transport.set_write_buffer_limits(high=0)

    def write_now(self, message: bytes) -> bool:
        """Writes an encoded message, unless something would have to be waited for.

        Nobody else may be in the middle of writing one.

        Returns:
            Whether it did.
        """
        return self._stream.send_now(_PREFIX.pack(False, len(message)) + message)
