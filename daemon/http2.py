"""HTTP/2 with a short way for what long streams are made of: frames of nothing but data.

h2 takes a frame through two state machines and a dozen objects. One that can change no
state, because it brings data to an open stream and both windows have room for it, is told
by a few comparisons; it is done here what h2 would do. All others go h2's way.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from grpclib.config import Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import DataReceived, Event
from h2.settings import SettingCodes
from h2.stream import H2Stream, StreamState

# The size in 24 bits, the type, the flags, the stream (RFC 9113, section 4.1). DATA is
# type 0, and a frame of data alone has no flags (section 6.1).
_HEADER: Final = struct.Struct(">HBBBL")
LEAST_DATA: Final = 5
"""What is smaller is at most the end of a message (whose prefix has as much), or one of a flood."""

_CONNECTED: Final = frozenset({ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN})
_MAY_SEND: Final = frozenset({StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE})
_MAY_RECEIVE: Final = frozenset({StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL})


class DataConnection(H2Connection):
    """h2's connection, that is quick with frames of data."""

    def greet(self, config: Configuration) -> None:
        """Begins the connection, with the windows that are wanted.

        Args:
            config: says how large they are.
        """
        self.initiate_connection()
        more = config.http2_connection_window_size - self.inbound_flow_control_window
        if more:
            self.increment_flow_control_window(more)
        self.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: config.http2_stream_window_size})

    def send_data(
        self, stream_id: int, data: Any, end_stream: bool = False, pad_length: Any = None
    ) -> None:
        """See h2."""
        if end_stream or pad_length is not None or not self._may_send(stream_id, len(data)):
            super().send_data(stream_id, data, end_stream, pad_length)
            return
        size = len(data)
        self.streams[stream_id].outbound_flow_control_window -= size
        self.outbound_flow_control_window -= size
        self._data_to_send += _HEADER.pack(size >> 8, size & 0xFF, 0, 0, stream_id)
        self._data_to_send += data

    def data_to_send(self, amount: int | None = None) -> bytes:
        """See h2, which makes new buffers each time."""
        return super().data_to_send(amount) if self._data_to_send else b""

    def receive_data(self, data: Any) -> list[Event]:
        """See h2."""
        waiting = self.incoming_buffer
        if waiting._data or waiting._preamble_len or waiting._headers_buffer:  # noqa: SLF001 - h2 tells nobody
            return super().receive_data(data)
        events: list[Event] = []
        at = 0
        while at < len(data):
            event = self._receive_plain(data, at)
            if event is None:
                return events + super().receive_data(data[at:])
            events.append(event)
            at += _HEADER.size + event.flow_controlled_length
        return events

    def _receive_plain(self, data: bytes, at: int) -> DataReceived | None:
        """Receives the frame at a place, if it is whole, and data for an open stream."""
        begin = at + _HEADER.size
        if len(data) < begin:
            return None
        high, low, kind, flags, stream_id = _HEADER.unpack_from(data, at)
        size = high << 8 | low
        stream = self.streams.get(stream_id)
        if kind or flags or stream is None or size < LEAST_DATA or begin + size > len(data):
            return None
        if not self._may_receive(stream, size):
            return None
        stream._inbound_window_manager.window_consumed(size)  # noqa: SLF001 - as h2's connection does
        self._inbound_flow_control_window_manager.window_consumed(size)
        piece = data[begin : begin + size]
        return DataReceived(stream_id=stream_id, data=piece, flow_controlled_length=size)

    def _may_send(self, stream_id: int, size: int) -> bool:
        stream = self.streams.get(stream_id)
        return (
            stream is not None
            and 0 < size <= stream.outbound_flow_control_window
            and size <= self.outbound_flow_control_window
            and size <= self.max_outbound_frame_size
            and stream.state_machine.state in _MAY_SEND
            and self.state_machine.state in _CONNECTED
        )

    def _may_receive(self, stream: H2Stream, size: int) -> bool:
        # Not where its headers have said how much comes: then h2 counts.
        return (
            size <= stream.inbound_flow_control_window
            and size <= self.inbound_flow_control_window
            and size <= self.max_inbound_frame_size
            and stream._expected_content_length is None  # noqa: SLF001 - as above
            and bool(stream.state_machine.headers_received)
            and stream.state_machine.state in _MAY_RECEIVE
            and self.state_machine.state in _CONNECTED
        )
