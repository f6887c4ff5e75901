"""An HTTP/2 client that does what no gRPC library lets one do."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes

from tests.support import PATIENCE_SECONDS

_LARGEST_WINDOW = 2**31 - 1


def prefixed(payload: bytes, *, size: int | None = None, compressed: bool = False) -> bytes:
    """A message as it stands in a gRPC stream; `size` may lie."""
    length = len(payload) if size is None else size
    return struct.pack(">?I", compressed, length) + payload


def payloads(data: bytes) -> list[bytes]:
    """The messages that stand in the data of a gRPC stream."""
    found = []
    while data:
        (size,) = struct.unpack(">xI", data[:5])
        found.append(data[5 : 5 + size])
        data = data[5 + size :]
    return found


class Http2Client:
    """One connection. What it reads does not open the windows again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._events: deque[Event] = deque()
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, host: str, port: int, local: str | None = None
    ) -> AsyncIterator[Http2Client]:
        """A connection that is closed with the context, perhaps from another address."""
        here = None if local is None else (local, 0)
        reader, writer = await asyncio.open_connection(host, port, local_addr=here)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def accept_everything(self) -> None:
        """Opens the windows as far as they go."""
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: _LARGEST_WINDOW})
        self.h2.increment_flow_control_window(_LARGEST_WINDOW - 65535)
        self.flush()

    def request(
        self,
        path: str,
        data: bytes = b"",
        *,
        end: bool = False,
        more: Iterable[tuple[str, str]] = (),
    ) -> int:
        """Opens a gRPC call; returns its stream's id."""
        stream = self.h2.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *more,
        ]
        self.h2.send_headers(stream, headers)
        self.send(stream, data, end=end)
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Queues data; `flush` writes it."""
        while len(data) > self.h2.max_outbound_frame_size:
            self.h2.send_data(stream, data[: self.h2.max_outbound_frame_size])
            data = data[self.h2.max_outbound_frame_size :]
        if data or end:
            self.h2.send_data(stream, data, end_stream=end)

    def flush(self) -> None:
        """Writes all that is queued, in one piece."""
        self._writer.write(self.h2.data_to_send())

    async def event(self) -> Event | None:
        """Returns the next event, or nothing once the server has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._events:
                data = await self._reader.read(65536)
                if not data:
                    return None
                self._events.extend(self.h2.receive_data(data))
                self.flush()
        return self._events.popleft()

    async def data(self, stream: int) -> bytes:
        """Reads on until a stream brings data; returns the data of one frame."""
        self.flush()
        while not (isinstance(event := await self.event(), DataReceived)):
            assert event is not None, "the connection was closed"
        assert event.stream_id == stream
        return event.data or b""

    async def answer(self, stream: int) -> tuple[bytes, dict[str, str]]:
        """Reads on until a stream has ended; returns its data, and all its headers."""
        self.flush()
        data, headers = b"", dict[str, str]()
        while not isinstance(event := await self.event(), StreamEnded):
            assert event is not None, "the connection was closed"
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, DataReceived):
                data += event.data or b""
            elif isinstance(event, ResponseReceived | TrailersReceived):
                headers.update((str(k), str(v)) for k, v in event.headers or ())
        return data, headers

    async def status(self, stream: int) -> tuple[int, str]:
        """Reads on until a call has ended; returns its gRPC status, and the text."""
        _, headers = await self.answer(stream)
        return int(headers["grpc-status"]), headers.get("grpc-message", "")
