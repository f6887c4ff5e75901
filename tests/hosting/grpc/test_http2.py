"""`DataConnection` behaves as h2's own connection, for any input and output."""

from collections.abc import Callable
from itertools import pairwise
from operator import methodcaller

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event
from h2.exceptions import ProtocolError
from hyperframe.frame import (
    DataFrame,
    Frame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hosting.grpc.http2 import DataConnection

# Streams 1 and 9 are open, 3 has a content-length, 5 is half closed, 7 is idle.
STREAMS = st.sampled_from([1, 1, 9, 9, 3, 3, 5, 5, 7])
# From nothing to more than a frame may hold. The windows have 65,535 bytes.
SIZES = st.sampled_from([0, 4, 5, 6, 300, 301, 8192, 8192, 16_384, 16_384, 16_385])
LITTLE = 1000
REQUEST = [
    (":method", "POST"),
    (":path", "/chat.ChatService/Chat"),
    (":scheme", "http"),
    (":authority", "localhost"),
]


def data_frame(stream: int, size: int, flags: str, padding: int) -> Frame:
    frame = DataFrame(stream, b"x" * size, flags=(flags,) if flags else ())
    frame.pad_length = padding if flags == "PADDED" else 0
    return frame


def window_frame(stream: int, by: int) -> Frame:
    frame = WindowUpdateFrame(stream)
    frame.window_increment = by
    return frame


DATA = st.builds(
    data_frame,
    STREAMS,
    SIZES,
    st.sampled_from(["", "", "", "", "", "END_STREAM", "PADDED"]),
    st.integers(0, 20),
)
OTHERS = st.one_of(
    st.builds(window_frame, st.sampled_from([0, 1, 3]), st.integers(1, 70_000)),
    st.builds(RstStreamFrame, st.sampled_from([1, 3, 5])),
    st.just(PingFrame(0, b"12345678")),
    st.just(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: LITTLE})),
)
LARGE = DataFrame(1, bytes(16_384))
ANOTHER = DataFrame(9, bytes(16_384))
# One of several frames is of another kind.
ONE_OF = st.integers(0, 6)
FRAMES = ONE_OF.flatmap(lambda number: DATA if number else OTHERS)
# Repeated data fills a window.
TIMES = st.sampled_from([1, 1, 3, 5])
INCOMING = st.lists(st.tuples(FRAMES, TIMES), min_size=1, max_size=6)


class Side:
    """One end: its output and its state."""

    def __init__(self, h2: H2Connection) -> None:
        self.h2 = h2
        self.seen: list[str | bytes | tuple[int, ...]] = []

    def do(self, deed: Callable[[H2Connection], list[Event] | None]) -> bool:
        """Performs an action; returns whether it succeeded."""
        try:
            events = deed(self.h2)
        except (ProtocolError, ValueError, KeyError) as error:
            self.seen.append(f"{type(error).__name__}: {error}")
            return False
        finally:
            self.seen.append(self.h2.data_to_send())
            self.seen.append(self._windows())
        for event in events or []:
            self.seen.append(repr(event))
            if isinstance(event, DataReceived):
                self.seen.append(event.data)
        return True

    def _windows(self) -> tuple[int, ...]:
        h2 = self.h2
        windows = [h2.inbound_flow_control_window, h2.outbound_flow_control_window]
        for stream in h2.streams.values():
            windows += [stream.inbound_flow_control_window, stream.outbound_flow_control_window]
        return tuple(windows)


class Pair:
    """The project's connection and h2's own, with the same input."""

    def __init__(self, *, client_side: bool) -> None:
        self.ours = Side(DataConnection(H2Configuration(client_side=client_side)))
        self.theirs = Side(H2Connection(H2Configuration(client_side=client_side)))

    def do(self, deed: Callable[[H2Connection], list[Event] | None]) -> bool:
        """Performs an action on both; returns whether it succeeded."""
        went_on = self.ours.do(deed)
        assert self.theirs.do(deed) == went_on
        assert self.ours.seen == self.theirs.seen
        return went_on


def opened(*, client_side: bool, wide: bool = False) -> Pair:
    """Both ends, with streams; the connection window may be wider than those of streams."""
    pair = Pair(client_side=client_side)
    peer = H2Connection(H2Configuration(client_side=not client_side))
    for end in (pair.ours.h2, pair.theirs.h2, peer):
        end.initiate_connection()
        if wide:
            end.increment_flow_control_window(1_000_000)
    client = [pair.ours.h2, pair.theirs.h2] if client_side else [peer]
    server = [peer] if client_side else [pair.ours.h2, pair.theirs.h2]
    for end in client:
        end.send_headers(1, REQUEST)
        end.send_headers(3, [*REQUEST, ("content-length", "306")])
        end.send_headers(5, REQUEST, end_stream=True)
        end.send_headers(9, REQUEST)
    greeting = client[0].data_to_send()
    for end in client[1:]:
        end.data_to_send()
    for end in server:
        end.receive_data(greeting)
        end.send_headers(1, [(":status", "200")])
        end.send_headers(9, [(":status", "200")])
        end.send_headers(5, [(":status", "200"), ("content-length", "306")])
    answer = server[0].data_to_send()
    for end in server[1:]:
        end.data_to_send()
    for end in client:
        end.receive_data(answer)
        end.data_to_send()
    return pair


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at some places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@settings(max_examples=500)
@given(
    st.booleans(),
    st.booleans(),
    INCOMING,
    st.lists(st.integers(0, 100_000), max_size=2),
    st.booleans(),
)
@example(client_side=False, wide=True, frames=[(LARGE, 5)], cuts=[], acknowledge=False)
@example(
    client_side=False, wide=False, frames=[(LARGE, 2), (ANOTHER, 3)], cuts=[], acknowledge=False
)
def test_connection_receives_as_h2_does(
    client_side: bool,
    wide: bool,
    frames: list[tuple[Frame, int]],
    cuts: list[int],
    acknowledge: bool,
) -> None:
    pair = opened(client_side=client_side, wide=wide)
    data = b"".join(frame.serialize() * times for frame, times in frames)
    for piece in pieces(data, cuts):
        if not pair.do(methodcaller("receive_data", piece)):
            return
        if acknowledge:
            pair.do(methodcaller("acknowledge_received_data", 5000, 1))


SENDS = st.builds(
    methodcaller,
    st.just("send_data"),
    STREAMS,
    SIZES.map(bytes),
    st.sampled_from([False, False, False, False, True]),
    st.sampled_from([None, None, None, None, 0, 9]),
)
WINDOWS = st.builds(window_frame, st.sampled_from([0, 1, 3]), st.integers(1, 200_000))
OTHER_DEEDS = st.one_of(
    WINDOWS.map(lambda frame: methodcaller("receive_data", frame.serialize())),
    st.just(methodcaller("close_connection")),
)
DEEDS = ONE_OF.flatmap(lambda number: SENDS if number else OTHER_DEEDS)


@settings(max_examples=500)
@given(st.booleans(), st.booleans(), st.lists(st.tuples(DEEDS, TIMES), max_size=6))
def test_connection_sends_as_h2_does(
    client_side: bool, wide: bool, deeds: list[tuple[Callable[[H2Connection], None], int]]
) -> None:
    pair = opened(client_side=client_side, wide=wide)
    for deed, times in deeds:
        for _ in range(times):
            pair.do(deed)


class Watched(DataConnection):
    """A connection that records input passed to h2."""

    def __init__(self) -> None:
        super().__init__(H2Configuration(client_side=False))
        self.frames: list[Frame] = []

    def _receive_frame(self, frame: Frame) -> list[Event]:
        self.frames.append(frame)
        return super()._receive_frame(frame)


def test_data_frame_takes_the_short_way() -> None:
    """Otherwise the tests above would compare h2 with itself."""
    client, server = H2Connection(), Watched()
    client.initiate_connection()
    client.send_headers(1, REQUEST)
    server.receive_data(client.data_to_send())
    server.frames.clear()
    for content in (b"hello", b"hell"):
        client.send_data(1, content)
        (event,) = server.receive_data(client.data_to_send())
        assert isinstance(event, DataReceived)
        assert event.data == content
    assert [frame.body_len for frame in server.frames] == [4]
