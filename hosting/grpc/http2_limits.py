"""The server's side of HTTP/2, within bounds.

A client may open a connection and send any number of frames that cost it a few bytes and the
server a state machine. So each frame has a price, by the work that it causes, and is paid for
twice:

- Out of the *turn*: frames of one connection are received for `TURN` in a turn of the event
  loop, then others have the next one. No price is waived here.
- Out of the *allowance* (`hosting.grpc.allowances`), if the frame carries nothing. Messages
  carry something, so a client that talks pays nothing; one that overdraws ends its connection
  with ENHANCE_YOUR_CALM (RFC 9113, section 10.5).

Further bounds: a header block is bounded as it arrives, and so is a frame, since h2 keeps both
until they are whole. A stream too many is refused alone (sections 5.1.2 and 8.7), and so is one
whose headers are malformed or whose data are not as long as they say (section 8.1.1). Frames of
unknown types are ignored (section 5.5).

====================================  ============================================
a frame                               has a price of (to answer a PING is 1)
====================================  ============================================
DATA, on its short way                0.1, and 0.25 for 16 KiB; out of the
                                      allowance only if it is small
DATA that ends an open stream         1, not out of the allowance
DATA that is padded, or for a stream  2: it is read by nobody, or acknowledged at
that is closed or answered            once
other DATA                            1; out of the allowance only if it is small
HEADERS of a new stream               8, not out of the allowance: calls are
                                      counted (`hosting.grpc.allowances`)
HEADERS, other                        3
of both, a large block                as much as its size
CONTINUATION, PRIORITY, GOAWAY, of an 1
unknown type
PING                                  1; one behind data that were sent is not out of
                                      the allowance
WINDOW_UPDATE                         1; two for each frame of data that was sent
                                      are not out of the allowance
SETTINGS                              2, more for many settings or open streams
RST_STREAM                            5: a call was begun for it, and has to be
                                      cleared away
====================================  ============================================
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, StreamReset
from h2.exceptions import (
    DenialOfServiceError,
    FrameTooLargeError,
    InvalidBodyLengthError,
    ProtocolError,
)
from h2.settings import SettingCodes
from h2.stream import StreamState
from hyperframe.frame import (
    AltSvcFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    SettingsFrame,
)

from hosting.grpc.hpack_limits import HEADER_BYTES, BoundedDecoder, cap_header_table
from hosting.grpc.http2 import DataConnection
from hosting.metadata import RETRY_AFTER

TURN: Final = 50
"""For how much frames of one connection are received in a turn: about 2 ms."""

# RFC 9113, section 6.
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING = 0, 1, 3, 4, 6
_WINDOW_UPDATE, _CONTINUATION = 8, 9
_BLOCKS: Final = (_HEADERS, _CONTINUATION)
_END_STREAM, _PADDED = 0x1, 0x8

_SMALL_DATA: Final = 256  # bytes: a frame that has as many pays for itself
_PLAIN: Final = 0.1
_PLAIN_BYTES: Final = 64 * 1024  # at the price of a PING
_WASTED: Final = 2
_CALL: Final = 8
_MORE_HEADERS: Final = 3
_USUAL_BLOCK: Final = 4096
_BLOCK_BYTES: Final = 256  # beyond that
_RESET: Final = 5
_SETTINGS_BYTES: Final = 60
_SETTINGS_STREAMS: Final = 20  # whose windows change with them
_WINDOWS_FOR_DATA: Final = 2  # who reads a frame opens two windows: the stream's, the connection's
_PUSHBACK: Final = "grpc-retry-pushback-ms"

# Sent with a server's first headers (gRPC, "Compression").
_ACCEPTED: Final = ("grpc-accept-encoding", "identity")

Spend = Callable[[float], bool]


class GuardedH2(DataConnection):
    """The server's side of HTTP/2, within bounds.

    Args:
        config: h2's settings.
        streams: how many streams may be open at a time.
        spend: takes something out of the allowance; tells whether so much was left.

    Attributes:
        greeted: whether the client's preface is complete (RFC 9113, section 3.4).
    """

    DEFAULT_MAX_HEADER_LIST_SIZE = HEADER_BYTES
    MAX_CLOSED_STREAMS = 4096
    MAY_RECEIVE = frozenset({StreamState.OPEN})  # nobody reads data behind the answer

    def __init__(self, config: H2Configuration, streams: int, spend: Spend) -> None:
        super().__init__(config)
        self._spend = spend
        self.decoder = BoundedDecoder()
        self._turn: float = TURN
        self._most_streams = streams
        self._limit_streams(streams)
        self.greeted = False
        self._due_windows = 0
        self._is_ping_due = False

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
        """See h2; a client may open windows for data without a charge.

        And measure, by one PING at a time, how fast they come: so gRPC's clients in Go and
        Java find out how large their windows should be, as often as data come.
        """
        super().send_data(stream_id, data, end_stream, pad_length)
        self._due_windows += _WINDOWS_FOR_DATA
        self._is_ping_due = True

    def send_headers(
        self,
        stream_id: int,
        headers: Iterable[Any],
        end_stream: bool = False,
        *priority: Any,
        **more: Any,
    ) -> None:
        """See h2; says when to try again in gRPC's own header, too (gRFC A6, "Pushback").

        And, with the first headers, that nothing may be compressed. grpclib keeps the
        names of gRPC's own headers from its callers.
        """
        sent = list(headers)
        sent += [(_PUSHBACK, value) for name, value in sent if name == RETRY_AFTER]
        if sent and sent[0][0] == ":status":
            sent.append(_ACCEPTED)
        super().send_headers(stream_id, sent, end_stream, *priority, **more)

    def receive_data(self, data: Any) -> list[Event]:
        """See h2. It begins a turn; frames beyond that are kept for the next one."""
        self._turn = TURN
        return super().receive_data(data)

    def _has_turn(self) -> bool:
        return self._turn > 0

    def _receive_plain(self, data: bytes, at: int) -> DataReceived | None:
        event = super()._receive_plain(data, at)
        if event is not None:
            size = event.flow_controlled_length
            self._turn -= _PLAIN + size / _PLAIN_BYTES
            if size < _SMALL_DATA:
                self._pay(_PLAIN)
        return event

    def _receive_piece(self, piece: bytes) -> list[Event]:
        """See above; h2 keeps frames and header blocks of any size until they are whole."""
        waiting = self.incoming_buffer
        if not waiting._preamble_len:  # noqa: SLF001 - h2 tells nobody
            self._charge(piece)
        events = super()._receive_piece(piece)
        block = sum(len(frame.data) for frame in waiting._headers_buffer)  # noqa: SLF001 - h2 has no bound
        if block > HEADER_BYTES:
            raise self._goodbye(DenialOfServiceError("the header block is too large"))
        return events

    def _charge(self, frame: bytes) -> None:
        """Takes the price of a frame out of the turn, and perhaps out of the allowance."""
        size, kind, flags = int.from_bytes(frame[:3], "big"), frame[3], frame[4]
        if size > self.max_inbound_frame_size:  # of which not all has come
            raise self._goodbye(FrameTooLargeError("the frame is too large"))
        stream_id = int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF
        price, is_free = 1.0, False
        if kind == _DATA:
            price, is_free = self._price_of_data(stream_id, flags, size)
        elif kind == _HEADERS:
            is_free = stream_id > self.highest_inbound_stream_id
            price = _CALL if is_free else _MORE_HEADERS
        elif kind == _RST_STREAM:
            price = _RESET
        elif kind == _SETTINGS:
            price = 2 + size // _SETTINGS_BYTES + len(self.streams) // _SETTINGS_STREAMS
        elif kind == _WINDOW_UPDATE and self._due_windows:
            self._due_windows -= 1
            is_free = True
        elif kind == _PING and self._is_ping_due:
            self._is_ping_due = False
            is_free = True
        self._turn -= price
        if not is_free:
            self._pay(price)
        if kind in _BLOCKS and size > _USUAL_BLOCK:
            self._turn -= (size - _USUAL_BLOCK) / _BLOCK_BYTES
            self._pay((size - _USUAL_BLOCK) / _BLOCK_BYTES)

    def _price_of_data(self, stream_id: int, flags: int, size: int) -> tuple[float, bool]:
        """Returns a price, and whether it is not to come out of the allowance."""
        stream = self.streams.get(stream_id)
        is_read = stream is not None and stream.state_machine.state in self.MAY_RECEIVE
        if flags & _PADDED or not is_read:
            return _WASTED, False
        return 1, bool(flags & _END_STREAM) or size >= _SMALL_DATA

    def _goodbye(self, error: ProtocolError) -> ProtocolError:
        self._terminate_connection(error.error_code)
        return error

    def _receive_frame(self, frame: Frame) -> list[Event]:
        if not self.greeted:
            if not isinstance(frame, SettingsFrame):
                raise ProtocolError("the first frame must be SETTINGS")
            self.greeted = True
        if isinstance(frame, ExtensionFrame | AltSvcFrame):
            return []
        if isinstance(frame, SettingsFrame):
            cap_header_table(frame)
        if isinstance(frame, HeadersFrame) and self._is_too_many(frame.stream_id):
            return self._refuse(frame)
        try:
            return super()._receive_frame(frame)
        except InvalidBodyLengthError:
            return self._reset(frame)

    def _reset(self, frame: Frame) -> list[Event]:
        """Resets a stream on which more or less data came than its headers said."""
        size = cast(DataFrame, frame).flow_controlled_length
        self._inbound_flow_control_window_manager.process_bytes(size)
        self.reset_stream(frame.stream_id, ErrorCodes.PROTOCOL_ERROR)
        return [
            StreamReset(
                stream_id=frame.stream_id, error_code=ErrorCodes.PROTOCOL_ERROR, remote_reset=False
            )
        ]

    def _is_too_many(self, stream: int) -> bool:
        is_new = stream > self.highest_inbound_stream_id
        return is_new and self.open_inbound_streams >= self._most_streams

    def _refuse(self, frame: HeadersFrame) -> list[Event]:
        """Resets the stream of a request, and tells nobody of it.

        Its header block is read all the same: later ones may refer to it.
        """
        if not self._spend(_RESET):
            raise _too_much()
        super()._receive_frame(frame)
        self.reset_stream(frame.stream_id, ErrorCodes.REFUSED_STREAM)
        return []

    def _pay(self, amount: float) -> None:
        if not self._spend(amount):
            raise self._goodbye(_too_much())


def _too_much() -> ProtocolError:
    return DenialOfServiceError("too many frames that carry nothing")
