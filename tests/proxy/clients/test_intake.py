"""Incoming WebSocket bytes: all passed on, pieces counted, forbidden frames refused."""

import asyncio
import struct
from itertools import pairwise

import pytest
from aiohttp import WSCloseCode, WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketError, WebSocketReader
from hypothesis import given
from hypothesis import strategies as st

from hosting.rate_limits import Allowance, Rates
from proxy.clients.intake import BROKEN_FRAME, PIECES, Intake
from proxy.clients.turns import FREE_WORK, TURN_WORK, Turns
from tests.kit.web import masked
from tests.support import PATIENT, eventually

FREE = Allowance(Rates()).calls
PING = masked(WSMsgType.PING, b"")
BEGIN = masked(WSMsgType.TEXT, b"{", first_bits=0)
PIECE = masked(WSMsgType.CONTINUATION, b" ", first_bits=0)
END = masked(WSMsgType.CONTINUATION, b"}")
TEXT = masked(WSMsgType.TEXT, b"{}")


class Heard:
    """A reader that keeps its bytes."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        self.ended = True


class Case:
    """An intake, and its effects.

    Args:
        rate: calls per second that it may make.
    """

    def __init__(self, rate: float = 0.0) -> None:
        self.reader = Heard()
        self.holds: list[bool] = []
        calls = Allowance(Rates(calls=rate)).calls
        self.intake = Intake(calls, Turns(), self.holds.append).read_by(self.reader)

    def feed(self, *pieces: bytes) -> bytes:
        """Feeds bytes; returns all that the reader has got so far."""
        for piece in pieces:
            assert self.intake.feed_data(piece) == (False, b"")
        return self.reader.data


def close(code: int) -> bytes:
    return masked(WSMsgType.CLOSE, struct.pack("!H", code))


PAYLOADS = st.sampled_from([0, 1, 125, 126, 127, 1000, 65535, 65536]).map(lambda size: b"x" * size)
SHORT = st.binary(max_size=125)
FRAGMENTED = st.lists(PAYLOADS, max_size=3).map(
    lambda parts: BEGIN + b"".join(masked(0, part, first_bits=0) + PING for part in parts) + END
)
FRAMES = st.one_of(
    st.builds(masked, st.sampled_from([WSMsgType.TEXT, WSMsgType.BINARY]), PAYLOADS),
    st.builds(masked, st.sampled_from([WSMsgType.PING, WSMsgType.PONG]), SHORT),
    FRAGMENTED,
)


@PATIENT
@given(st.lists(FRAMES, max_size=6), st.data())
def test_intake_passes_on_each_byte(frames: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frames) + close(1000)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8).map(sorted))
    asyncio.run(pass_on(whole, [0, *cuts, len(whole)]))


async def pass_on(whole: bytes, cuts: list[int]) -> None:
    case = Case()
    for start, end in pairwise(cuts):
        case.feed(whole[start:end])
        while case.holds[-1:] == [True]:
            await turn()
        got = case.reader.data
        assert whole.startswith(got)
        # Only the head of a frame, or a close frame, is held back.
        assert end - len(got) < 14 + 125
    assert case.reader.data == whole


FORBIDDEN = {
    "no mask": b"\x81\x02{}",
    "a ping without a mask": b"\x89\x00",
    "a long frame without a mask": b"\x81\x7e\x00\x7e" + b"x" * 126,
    "a message within a message": BEGIN + TEXT,
    "a message within an empty one": masked(WSMsgType.TEXT, b"", first_bits=0) + TEXT,
    "a continuation of nothing": END,
    **{
        f"close {code}": close(code) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("frames", FORBIDDEN.values(), ids=FORBIDDEN)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_forbidden_frame_ends_intake(frames: bytes, size: int) -> None:
    before = TEXT + PING
    whole = before + frames + TEXT
    case = Case()
    got = case.feed(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert got.startswith(before)
    assert got.endswith(BROKEN_FRAME)
    assert got.count(BROKEN_FRAME) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4000, 4999])
def test_close_codes_of_clients(code: int) -> None:
    assert Case().feed(close(code)) == close(code)
    assert Case().feed(*(bytes([each]) for each in close(code))) == close(code)


async def test_broken_frame_substitute_fails_in_aiohttp() -> None:
    """The reader gets the substitute instead of a frame that it would accept."""
    loop = asyncio.get_running_loop()
    queue = WebSocketDataQueue(BaseProtocol(loop), 1 << 16, loop=loop)
    reader = WebSocketReader(queue, 1 << 16, compress=False, decode_text=False)
    reader.feed_data(TEXT + BROKEN_FRAME)
    assert (await queue.read()).type is WSMsgType.TEXT
    with pytest.raises(WebSocketError) as broken:
        await queue.read()
    assert broken.value.code == WSCloseCode.PROTOCOL_ERROR


async def turn() -> None:
    """Waits for the next turn of the event loop."""
    await asyncio.sleep(0)


@pytest.mark.parametrize("piece", [PING, PIECE, masked(WSMsgType.PONG, b"x" * 125)], ids=len)
async def test_pieces_in_a_turn_are_bounded(piece: bytes) -> None:
    case = Case()
    if piece is PIECE:
        case.feed(BEGIN)
    before = len(case.reader.data)
    whole = piece * 1000
    got = len(case.feed(whole)) - before
    assert got <= FREE_WORK * len(piece)
    assert case.holds == [True]
    largest = 0
    while got < len(whole):
        await turn()
        now = len(case.reader.data) - before
        largest, got = max(largest, now - got), now
    assert largest == TURN_WORK * len(piece)
    await turn()
    assert case.holds[-1] is False


async def test_bytes_queue_while_intake_waits() -> None:
    case = Case()
    case.feed(PING * PIECES * 2, TEXT, TEXT[:3])
    while case.holds[-1]:
        await turn()
    assert case.feed(TEXT[3:]) == PING * PIECES * 2 + TEXT * 2


async def test_pieces_are_charged_as_calls() -> None:
    """At most ten seconds' worth plus the refill is read, and nothing is lost."""
    case = Case(rate=1.0)
    case.feed(PING * PIECES * 100)
    for _ in range(1000):
        await turn()
    assert 10 <= len(case.reader.data) / len(PING) / PIECES <= 11.5
    assert case.holds[-1] is True
    # A wait does not keep a lost connection.
    case.intake.feed_eof()
    assert case.reader.ended


async def test_whole_messages_are_charged_elsewhere() -> None:
    case = Case(rate=1.0)
    assert case.feed(TEXT * 5000) == TEXT * 5000
    assert case.holds == []


async def test_closed_client_is_read_slowly() -> None:
    case = Case()
    case.feed(TEXT)
    case.intake.slow_down()
    for number in range(3):
        case.feed(TEXT)
        # Once more, and not at once.
        assert case.holds == [True, False] * number + [True]
        await turn()
        assert case.holds[-1] is True
        await eventually(lambda: case.holds[-1] is False)
    assert case.reader.data == TEXT * 4


class TestPulse:
    """Any byte is a sign of life; a message must come to an end."""

    async def test_any_byte_is_life(self) -> None:
        case = Case()
        assert not case.intake.heard()
        for byte in TEXT:
            case.feed(bytes([byte]))
            assert case.intake.heard()
            assert not case.intake.heard()

    async def test_unread_client_counts_as_alive(self) -> None:
        case = Case(rate=1.0)
        case.feed(PING * PIECES * 20)
        for _ in range(100):
            await turn()
        assert case.holds[-1] is True
        assert [case.intake.heard() for _ in range(3)] == [True] * 3
        assert not case.intake.endless()

    @pytest.mark.parametrize("begun", [TEXT[:1], TEXT[:-1], BEGIN, BEGIN + PIECE[:2]])
    async def test_endless_message_is_found(self, begun: bytes) -> None:
        case = Case()
        case.feed(begun)
        told = [case.intake.endless() for _ in range(25)]
        assert told.index(True) >= 19

    async def test_finished_message_is_not_endless(self) -> None:
        case = Case()
        for _ in range(30):
            case.feed(TEXT[:-1])
            assert not case.intake.endless()
            case.feed(TEXT[-1:])
            assert not case.intake.endless()
