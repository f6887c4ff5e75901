"""HTTP/2 with a short way for frames of nothing but data, of which long streams are made.

h2 takes a frame through two state machines and a dozen objects. One that can change no
state, because it brings data to an open stream and both windows have room for it, is told
by a few comparisons, and handled here as h2 would. All others go h2's way.
"""

import struct
from typing import Any, Final

from grpclib.config import Configuration
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event
from h2.settings import SettingCodes
from h2.stream import H2Stream, StreamState
from hyperframe.frame import Frame, GoAwayFrame

# The size in 24 bits, the type, the flags, the stream (RFC 9113, section 4.1). DATA is
# type 0, and a frame of data alone has no flags (section 6.1).
_HEADER: Final = struct.Struct(">HBBBL")
LEAST_DATA: Final = 5
"""A smaller frame is at most the end of a message (whose prefix has as much), or one of a flood."""

_CONNECTED: Final = frozenset({ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN})
_MAY_SEND: Final = frozenset({StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE})


class DataConnection(H2Connection):
    """h2's connection, that is quick with frames of data.

    Args:
        config: h2's settings.

    Attributes:
        MAY_RECEIVE: the states of streams on which data are of use.
    """

    MAY_RECEIVE = frozenset({StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL})

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        # The bytes that have come, and how many of them are received: whole frames only.
        self._received = b""
        self._at = 0

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
        """See h2. Frames that a turn leaves over are kept: see `has_more`."""
        # Nothing is copied while there is no more than the rest of it to go through.
        self._received = self._received[self._at :] + data if self._has_rest else data
        self._at = 0
        events: list[Event] = []
        while self._has_turn():
            event = self._receive_plain(self._received, self._at)
            if event is not None:
                events.append(event)
                self._at += _HEADER.size + event.flow_controlled_length
            elif piece := self._next_piece():
                self._at += len(piece)
                events += self._receive_piece(piece)
            else:
                break
        if not self._has_rest:
            self.discard()  # or it would be kept until more comes
        return events

    @property
    def has_more(self) -> bool:
        """Whether frames have come that nothing was done about yet, for want of a turn."""
        return bool(self._next_piece())

    def discard(self) -> None:
        """Drops all bytes that have come, also frames that had no turn yet."""
        self._received, self._at = b"", 0

    @property
    def _has_rest(self) -> bool:
        return self._at < len(self._received)

    def _has_turn(self) -> bool:
        """Whether one more frame may be received before others have their turn."""
        return True

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """Receives a goodbye, which ends nothing that is open (RFC 9113, section 6.8).

        h2 would send nothing any more, nor receive.
        """
        event = ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]

    def _receive_piece(self, piece: bytes) -> list[Event]:
        """Receives a frame that is not received in the short way."""
        return super().receive_data(piece)

    def _next_piece(self) -> bytes:
        """Returns the next bytes for h2: a whole frame, or bytes that are no frame, or nothing."""
        received, at = self._received, self._at
        waiting = self.incoming_buffer
        if waiting._preamble_len:  # noqa: SLF001 - h2 tells nobody
            return received[at : at + waiting._preamble_len]  # noqa: SLF001 - as above
        if waiting._data:  # noqa: SLF001 - as above
            return received[at:]
        if len(received) < at + _HEADER.size:
            return b""
        size = received[at] << 16 | received[at + 1] << 8 | received[at + 2]
        if size > self.max_inbound_frame_size:
            return received[at:]  # which h2 refuses
        end = at + _HEADER.size + size
        return received[at:end] if end <= len(received) else b""

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
        waiting = self.incoming_buffer
        if waiting._headers_buffer or waiting._data:  # noqa: SLF001 - h2 tells nobody
            return None  # in the middle of something else it is a mistake
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
            and stream.state_machine.state in self.MAY_RECEIVE
            and self.state_machine.state in _CONNECTED
        )
