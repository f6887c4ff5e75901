"""Costs of HTTP/2 frames, and the number received in a turn."""

import struct
import sys

import pytest
from grpclib.config import Configuration
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, PingReceived, RequestReceived
from h2.exceptions import ProtocolError

from hosting.grpc.http2_limits import TURN, GuardedH2
from tests.kit.http2 import (
    ACK,
    ALTSVC,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    headers,
    opening,
)

STREAMS = 100
OPEN, ANSWERED, RESET, CLOSED = 1, 3, 5, 7


class Side:
    """A server's connection with streams in several states, and its expenses.

    Attributes:
        spent: the sum taken from the allowance.
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self.h2 = GuardedH2(
            H2Configuration(client_side=False, validate_inbound_headers=False), STREAMS, self._spend
        )
        self.h2.greet(Configuration())
        self.receive_all(
            PREFACE
            + frame(SETTINGS, flags=ACK)
            + b"".join(opening(n) for n in (OPEN, ANSWERED, RESET))
        )
        self.receive_all(opening(CLOSED, flags=END_HEADERS | END_STREAM))
        for stream in (ANSWERED, CLOSED):
            self.h2.send_headers(stream, [(":status", "200")], end_stream=True)
        self.h2.reset_stream(RESET)
        self.h2.data_to_send()
        self.spent = 0

    def _spend(self, amount: float) -> bool:
        self.spent += amount
        return True

    def receive_all(self, data: bytes) -> list[list[Event]]:
        """Receives in as many turns as it takes; returns the events of each."""
        turns = [self.h2.receive_data(data)]
        while self.h2.has_more:
            turns.append(self.h2.receive_data(b""))
        return turns


def data(stream: int, size: int, flags: int = 0) -> bytes:
    return frame(DATA, bytes(size), stream=stream, flags=flags)


LARGE = headers("/x", ("x", "\N{DEGREE SIGN}" * 1500))
FREE = {
    "DATA as large as may be": data(OPEN, 16_384),
    "DATA that pays for itself": data(OPEN, 256),
    "DATA that ends a stream": data(OPEN, 0, END_STREAM),
    "a call": opening(9),
    "a call with many headers": opening(9, headers("/x", ("authorization", "x" * 3000))),
}
COSTS = {
    "DATA that is padded": (data(OPEN, 5, PADDED), 2),
    "DATA that is padded much": (frame(DATA, b"\xff" + bytes(300), stream=1, flags=PADDED), 2),
    "DATA that is small": (data(OPEN, 5), 0.1),
    "DATA that is smaller than a prefix": (data(OPEN, 4), 1),
    "DATA that is empty": (data(OPEN, 0), 1),
    "DATA behind the answer": (data(ANSWERED, 5), 2),
    "DATA behind the answer, large": (data(ANSWERED, 16_384), 2),
    "the end behind the answer": (data(ANSWERED, 0, END_STREAM), 2),
    "DATA on a stream that was reset": (data(RESET, 16_384), 2),
    "DATA on a closed stream": (data(CLOSED, 5), 2),
    "trailers": (opening(OPEN, [("x", "y")], flags=END_HEADERS | END_STREAM), 3),
    "HEADERS on a stream that was reset": (opening(RESET), 3),
    "HEADERS that are large": (opening(9, LARGE), (len(block(LARGE)) - 4096) / 256),
    "a block in pieces": (
        frame(HEADERS, block(headers()), stream=9)
        + 10 * frame(CONTINUATION, stream=9)
        + frame(CONTINUATION, stream=9, flags=END_HEADERS),
        11,
    ),
    "PING": (frame(PING, b"12345678"), 1),
    "PING, an answer": (frame(PING, b"12345678", flags=ACK), 1),
    "PRIORITY": (frame(PRIORITY, b"\0\0\0\0\1", stream=9), 1),
    "WINDOW_UPDATE": (frame(WINDOW_UPDATE, b"\0\0\0\1"), 1),
    "WINDOW_UPDATE of a stream": (frame(WINDOW_UPDATE, b"\0\0\0\1", stream=OPEN), 1),
    "WINDOW_UPDATE of a closed stream": (frame(WINDOW_UPDATE, b"\0\0\0\1", stream=CLOSED), 1),
    "SETTINGS": (frame(SETTINGS), 2),
    "SETTINGS that are many": (frame(SETTINGS, struct.pack(">HI", 4, 65535) * 100), 12),
    "RST_STREAM": (frame(RST_STREAM, b"\0\0\0\x08", stream=OPEN), 5),
    "RST_STREAM of a closed stream": (frame(RST_STREAM, b"\0\0\0\x08", stream=CLOSED), 5),
    "GOAWAY": (frame(GOAWAY, bytes(8)), 1),
    "ALTSVC": (frame(ALTSVC, b"\0\1ab"), 1),
    "of an unknown type": (frame(0x77, b"?"), 1),
}


@pytest.mark.parametrize("received", FREE.values(), ids=FREE.keys())
def test_useful_frame_is_free(received: bytes) -> None:
    side = Side()
    side.receive_all(received)
    assert side.spent == 0


@pytest.mark.parametrize(("received", "cost"), COSTS.values(), ids=COSTS.keys())
def test_frame_costs_its_work(received: bytes, cost: float) -> None:
    side = Side()
    side.receive_all(received)
    assert side.spent == pytest.approx(cost)


def test_settings_cost_grows_with_streams() -> None:
    side = Side()
    side.receive_all(b"".join(opening(n) for n in range(9, 9 + 2 * 90, 2)))
    side.receive_all(frame(SETTINGS))
    assert side.spent == 2 + 4


def test_window_updates_for_data_are_free() -> None:
    side = Side()
    side.h2.send_headers(OPEN, [(":status", "200")])
    for _ in range(10):
        side.h2.send_data(OPEN, b"hello")
    update = frame(WINDOW_UPDATE, b"\0\0\0\1") + frame(WINDOW_UPDATE, b"\0\0\0\1", stream=OPEN)
    side.receive_all(update * 10)
    assert side.spent == 0
    side.receive_all(update)
    assert side.spent == 2


def test_bandwidth_pings_are_free() -> None:
    """Clients of gRPC in Go and Java send one PING at a time, for data alone."""
    side = Side()
    side.h2.send_headers(OPEN, [(":status", "200")])
    ping = frame(PING, b"12345678")
    for _ in range(10):
        side.h2.send_data(OPEN, b"hello")
        side.receive_all(ping)
    assert side.spent == 0
    side.receive_all(ping)
    assert side.spent == 1
    for _ in range(10):
        side.h2.send_data(OPEN, b"hello")
    side.receive_all(ping + ping)
    assert side.spent == 2


# Input, and the number of its frames in one turn: the last may exceed the rest of the turn.
TURNS = {
    "PING": (frame(PING, b"12345678"), TURN),
    "small DATA": (data(OPEN, 5), 10 * TURN),
    "small DATA that is padded": (data(OPEN, 5, PADDED), TURN // 2),
    "DATA on a closed stream": (data(CLOSED, 5), TURN // 2),
    "large DATA": (data(OPEN, 16_000), 3 * TURN),
}


@pytest.mark.parametrize(("received", "most"), TURNS.values(), ids=TURNS.keys())
def test_turn_has_bounded_frames(received: bytes, most: int) -> None:
    side = Side()
    number = 200_000 // len(received)
    turns = len(side.receive_all(received * number))
    assert number / most <= turns <= number


def test_turn_has_bounded_calls() -> None:
    turns = Side().receive_all(b"".join(opening(n) for n in range(9, 9 + 2 * 60, 2)))
    begun = [[type(event) for event in turn].count(RequestReceived) for turn in turns]
    assert sum(begun) == 60
    assert max(begun) <= TURN // 8 + 1


def test_turns_keep_all_in_order() -> None:
    """However the input is cut into pieces."""
    pieces = [
        frame(PING, n.to_bytes(8, "big")) + data(OPEN, 5 + n % 300) + data(OPEN, n % 7)
        for n in range(400)
    ]
    whole, together = Side(), b"".join(pieces)
    expected = [repr(event) for turn in whole.receive_all(together) for event in turn]
    assert len(expected) == 3 * len(pieces)
    for size in (1, 7, 1000, 30_000):
        side, events = Side(), list[Event]()
        for at in range(0, len(together), size):
            events += side.h2.receive_data(together[at : at + size])
        events += [event for turn in side.receive_all(b"") for event in turn]
        assert [repr(event) for event in events] == expected
        sizes = [len(event.data or b"") for event in events if isinstance(event, DataReceived)]
        assert sizes == [size for n in range(400) for size in (5 + n % 300, n % 7)]
        assert sum(isinstance(event, PingReceived) for event in events) == 400


def test_received_bytes_are_not_kept() -> None:
    """Only an incomplete frame is kept on a silent connection."""
    side = Side()
    received = b"".join(data(OPEN, 10_000) for _ in range(3)) + frame(PING, b"12345678")
    before = sys.getrefcount(received)
    side.receive_all(received)
    assert sys.getrefcount(received) == before
    head = received[:9]
    side.receive_all(received + head)
    side.receive_all(received[9:])
    assert sys.getrefcount(received) == before


def test_overdraft_is_told_to_calm_down() -> None:
    h2 = GuardedH2(H2Configuration(client_side=False), STREAMS, lambda _: False)
    h2.greet(Configuration())
    h2.data_to_send()
    with pytest.raises(ProtocolError) as refused:
        h2.receive_data(PREFACE)
    assert refused.value.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert h2.data_to_send()[3] == GOAWAY
