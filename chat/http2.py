"""The server's side of HTTP/2, within bounds.

- Frames that cost the server work and the client nothing come out of an
  allowance. Who overdraws it is told ENHANCE_YOUR_CALM (RFC 9113, section 10.5).
- A header block is bounded as it arrives, and so is a frame.
- A stream too many is refused alone (RFC 9113, sections 5.1.2 and 8.7).
- Frames of unknown types are ignored (RFC 9113, section 5.5).
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import DenialOfServiceError, FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import (
    AltSvcFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from chat.errors import RETRY_AFTER
from daemon.http2 import LEAST_DATA, DataConnection

HEADER_BYTES: Final = 16 * 1024
"""The largest header block, encoded and decoded."""

ALLOWANCE: Final = 10_000
"""How much of it a connection may use at once."""

ALLOWANCE_PER_SECOND: Final = 1000
"""How fast it grows again."""

_RESET_COST: Final = 5  # a call was begun for it, and has to be cleared away
_WINDOWS_FOR_DATA: Final = 2  # who reads a frame opens two windows: the stream's, the connection's
_SETTINGS_BYTES: Final = 60  # of one frame, at the cost of a frame more
_HEADER_TABLE_BYTES: Final = 4096
_PUSHBACK: Final = "grpc-retry-pushback-ms"


class GuardedH2(DataConnection):
    """The server's side of HTTP/2, within bounds.

    Args:
        config: h2's settings.
        streams: how many streams may be open at a time.

    Attributes:
        greeted: whether the client's preface is complete (RFC 9113, section 3.4).
    """

    DEFAULT_MAX_HEADER_LIST_SIZE = HEADER_BYTES
    MAX_CLOSED_STREAMS = 4096

    def __init__(self, config: H2Configuration, streams: int) -> None:
        super().__init__(config)
        self._most_streams = streams
        self._limit_streams(streams)
        self.greeted = False
        self._allowance = float(ALLOWANCE)
        self._counted_at = monotonic()
        self._due_windows = 0

    def _limit_streams(self, number: int) -> None:
        self.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = number
        self.local_settings.acknowledge()

    def initiate_connection(self) -> None:
        """See h2; it would end the connection for a stream more than it has announced."""
        super().initiate_connection()
        self._limit_streams(self._most_streams + 1)

    def send_data(
        self, stream_id: int, data: Any, end_stream: bool = False, pad_length: Any = None
    ) -> None:
        """See h2; who gets data may open windows for it."""
        super().send_data(stream_id, data, end_stream, pad_length)
        self._due_windows += _WINDOWS_FOR_DATA

    def send_headers(
        self,
        stream_id: int,
        headers: Iterable[Any],
        end_stream: bool = False,
        *priority: Any,
        **more: Any,
    ) -> None:
        """See h2; says when to try again in gRPC's own header, too (gRFC A6, "Pushback").

        grpclib keeps the names of gRPC's own headers from its callers.
        """
        sent = list(headers)
        sent += [(_PUSHBACK, value) for name, value in sent if name == RETRY_AFTER]
        super().send_headers(stream_id, sent, end_stream, *priority, **more)

    def receive_data(self, data: Any) -> list[Event]:
        """See h2; it keeps frames and header blocks of any size until they are whole."""
        events = super().receive_data(data)
        waiting = self.incoming_buffer
        block = sum(len(frame.data) for frame in waiting._headers_buffer)  # noqa: SLF001 - h2 has no bound
        if block > HEADER_BYTES:
            raise self._goodbye(DenialOfServiceError("the header block is too large"))
        if len(waiting._data) > self.max_inbound_frame_size + 9:  # noqa: SLF001 - as above
            raise self._goodbye(FrameTooLargeError("the frame is too large"))
        return events

    def _goodbye(self, error: ProtocolError) -> ProtocolError:
        self._terminate_connection(error.error_code)
        return error

    def _receive_frame(self, frame: Frame) -> list[Event]:
        if not self.greeted:
            if not isinstance(frame, SettingsFrame):
                raise ProtocolError("the first frame must be SETTINGS")
            self.greeted = True
        if isinstance(frame, WindowUpdateFrame) and self._due_windows:
            self._due_windows -= 1
        elif cost := _cost(frame):
            self._spend(cost)
        if isinstance(frame, ExtensionFrame | AltSvcFrame):
            return []
        if isinstance(frame, SettingsFrame):
            _bound_header_table(frame)
        if isinstance(frame, HeadersFrame) and self._is_too_many(frame.stream_id):
            return self._refuse(frame)
        return super()._receive_frame(frame)

    def _is_too_many(self, stream: int) -> bool:
        is_new = stream > self.highest_inbound_stream_id
        return is_new and self.open_inbound_streams >= self._most_streams

    def _refuse(self, frame: HeadersFrame) -> list[Event]:
        """Resets the stream of a request, and tells nobody of it.

        Its header block is read all the same: later ones may refer to it.
        """
        self._spend(_RESET_COST)
        super()._receive_frame(frame)
        self.reset_stream(frame.stream_id, ErrorCodes.REFUSED_STREAM)
        return []

    def _spend(self, cost: int) -> None:
        if self._allowance < cost:
            now = monotonic()
            grown = self._allowance + (now - self._counted_at) * ALLOWANCE_PER_SECOND
            self._allowance, self._counted_at = min(grown, ALLOWANCE), now
        if self._allowance < cost:
            raise DenialOfServiceError("too many frames that carry nothing")
        self._allowance -= cost


_CARRY_NOTHING: Final = (
    PingFrame,
    PriorityFrame,
    WindowUpdateFrame,
    ExtensionFrame,
    AltSvcFrame,
)


def _cost(frame: Frame) -> int:
    if isinstance(frame, DataFrame):
        return int(len(frame.data) < LEAST_DATA and "END_STREAM" not in frame.flags)
    if isinstance(frame, RstStreamFrame):
        return _RESET_COST
    if isinstance(frame, SettingsFrame):
        return 1 + frame.body_len // _SETTINGS_BYTES
    return int(isinstance(frame, _CARRY_NOTHING))


def _bound_header_table(frame: SettingsFrame) -> None:
    """Lets a client not say how much this side remembers of what it was sent."""
    asked = frame.settings.get(SettingsFrame.HEADER_TABLE_SIZE)
    if asked is not None:
        frame.settings[SettingsFrame.HEADER_TABLE_SIZE] = min(asked, _HEADER_TABLE_BYTES)
