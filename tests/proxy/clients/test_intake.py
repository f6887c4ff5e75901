"""Incoming WebSocket bytes: all passed on, pieces counted, forbidden frames refused."""

import asyncio
import struct
from contextlib import suppress
from itertools import pairwise
from time import monotonic

import pytest
from aiohttp import WSCloseCode, WSMessage, WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketError, WebSocketReader, WSMessageTextBytes
from aiohttp.streams import EofStream
from hypothesis import given
from hypothesis import strategies as st

from hosting.rate_limits import Allowance, Rates
from proxy.clients.frame_rules import Violation, close_frame
from proxy.clients.intake import PIECES, Intake
from proxy.clients.turns import FREE_WORK, TURN_WORK, Turns
from tests.kit.web import masked
from tests.support import PATIENCE_SECONDS, PATIENT, eventually

FREE = Allowance(Rates()).calls
MOST = 1 << 18
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
        most: the most bytes of a message.
    """

    def __init__(self, rate: float = 0.0, most: int = MOST) -> None:
        self.reader = Heard()
        self.holds: list[bool] = []
        calls = Allowance(Rates(calls=rate)).calls
        self.intake = Intake(calls, Turns(), self.holds.append, most).read_by(self.reader)

    def feed(self, *pieces: bytes) -> bytes:
        """Feeds bytes; returns all that the reader has got so far."""
        for piece in pieces:
            assert self.intake.feed_data(piece) == (False, b"")
        return self.reader.data


def close(code: int, reason: bytes = b"") -> bytes:
    return masked(WSMsgType.CLOSE, struct.pack("!H", code) + reason)


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


EMPTY_BEGIN = masked(WSMsgType.TEXT, b"", first_bits=0)
FORBIDDEN = {
    "a client masks its frames": [b"\x81\x02{}", b"\x89\x00", b"\x81\x7e\x00\x7e" + b"x" * 126],
    "reserved bits are 0: there are no extensions": [
        masked(opcode, b"", first_bits=0x80 | bit)
        for opcode in (WSMsgType.TEXT, WSMsgType.PING)
        for bit in (0x10, 0x20, 0x40)
    ],
    "there is no opcode 3": [masked(3, b"{}"), masked(3, b"{}", first_bits=0)],
    "there is no opcode 15": [masked(15, b"")],
    "a control frame is not fragmented": [masked(WSMsgType.PING, b"", first_bits=0)],
    "a control frame has 125 bytes at most": [
        masked(WSMsgType.PONG, b"x" * 126),
        masked(WSMsgType.CLOSE, b"x" * (1 << 16)),
    ],
    "a message is continued before the next one begins": [BEGIN + TEXT, EMPTY_BEGIN + TEXT],
    "only a begun message is continued": [END, PIECE],
    "a close frame has no bytes, or a code of two": [masked(WSMsgType.CLOSE, b"x")],
    **{
        f"no client closes with the code {code}": [close(code)]
        for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
    },
    "the reason of a close is UTF-8": [close(1000, b"\xff"), close(4000, b"x" * 122 + b"\xc3")],
    f"a message has {MOST} bytes at most": [
        masked(WSMsgType.TEXT, b"x" * (MOST + 1)),
        b"\x81\xff" + b"\xff" * 12,
        BEGIN + masked(WSMsgType.CONTINUATION, b"x" * MOST),
        BEGIN + PING + PIECE * 10 + masked(WSMsgType.CONTINUATION, b"x" * (MOST - 10)),
    ],
}
CODES = {"the reason of a close is UTF-8": 1007, f"a message has {MOST} bytes at most": 1009}


@pytest.mark.parametrize("size", [1, 5, 1000, MOST * 2])
async def test_forbidden_frame_ends_intake(size: int) -> None:
    before = TEXT + PING
    for rule, cases in FORBIDDEN.items():
        for frames in cases:
            if len(frames) // size > 1000:
                continue
            whole = before + frames + TEXT
            case = Case()
            got = case.feed(*(whole[at : at + size] for at in range(0, len(whole), size)))
            assert case.intake.violation == Violation(CODES.get(rule, 1002), rule)
            end = close_frame(CODES.get(rule, 1002))
            assert got.startswith(before)
            assert got.endswith(end)
            assert got.count(end) == 1


async def test_bytes_behind_close_frame_are_thrown_away() -> None:
    for behind in (TEXT, close(1001), b"\x81\x02{}"):
        for size in (3, 1000):
            case = Case()
            whole = TEXT + close(1000) + behind
            got = case.feed(*(whole[at : at + size] for at in range(0, len(whole), size)))
            assert got == TEXT + close(1000)
            assert case.intake.violation is None


def test_largest_message_is_passed_on() -> None:
    for size in (MOST, MOST - 1):
        for whole in (
            masked(WSMsgType.TEXT, b"x" * size),
            BEGIN + PING + masked(WSMsgType.CONTINUATION, b"x" * (size - 1)),
        ):
            assert Case().feed(whole, TEXT) == whole + TEXT


def test_part_of_long_text_is_not_taken_for_a_short_one() -> None:
    """As long as a whole text whose size is the mark of a size in eight bytes."""
    whole = b"\x81\xff" + (1000).to_bytes(8) + b"mask" + b"x" * 1000
    assert Case().feed(whole[:133], whole[133:], TEXT) == whole + TEXT


def test_short_frames_are_bounded_as_well() -> None:
    for size, allowed in ((100, True), (101, False), (126, False), (10_000, False)):
        case = Case(most=100)
        case.feed(masked(WSMsgType.TEXT, b"x" * size))
        assert (case.intake.violation is None) == allowed


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4000, 4999])
def test_close_codes_of_clients(code: int) -> None:
    assert Case().feed(close(code)) == close(code)
    assert Case().feed(*(bytes([each]) for each in close(code))) == close(code)


ANY_FRAMES = st.builds(
    lambda first, masks, size, rest: bytes((first, masks | size)) + rest,
    st.integers(0, 255) | st.sampled_from([0x81, 0x01, 0x00, 0x80, 0x88, 0x89]),
    st.sampled_from([0x80, 0x80, 0x80, 0]),
    st.integers(0, 127),
    st.binary(max_size=40),
)


@PATIENT
@given(st.lists(FRAMES | ANY_FRAMES, max_size=5), st.integers(1, 300))
def test_reader_gets_nothing_that_it_refuses(frames: list[bytes], most: int) -> None:
    """What aiohttp's reader refuses is refused before; behind that it gets a close frame."""
    asyncio.run(read_all(frames, most))


async def read_all(frames: list[bytes], most: int) -> None:
    alone, guarded = Queue(most), Queue(most)
    for frame in frames:
        alone.reader.feed_data(frame)
    case = Case(most=most)
    case.intake.read_by(guarded.reader)
    for frame in frames:
        case.feed(frame)
    while case.holds[-1:] == [True]:
        await turn()
    refused = alone.queue.exception()
    if refused is not None:
        # A head is judged when it is whole.
        case.feed(b"x" * 12)
    violation = case.intake.violation
    assert guarded.queue.exception() is None
    messages = await guarded.messages()
    if violation is not None:
        assert (messages[-1].type, messages[-1].data) == (WSMsgType.CLOSE, violation.code)
    elif messages and messages[-1].type is WSMsgType.CLOSE:
        # What is behind a client's close frame is nothing to the guarded one.
        return
    if isinstance(refused, WebSocketError):
        assert violation is not None
        # A frame may break two rules.
        assert violation.code == refused.code or violation.code == WSCloseCode.PROTOCOL_ERROR


class Queue:
    """aiohttp's reader, and what it has read."""

    def __init__(self, most: int) -> None:
        loop = asyncio.get_running_loop()
        self.queue = WebSocketDataQueue(BaseProtocol(loop), 1 << 20, loop=loop)
        self.reader = WebSocketReader(self.queue, most + 1, compress=False, decode_text=False)

    async def messages(self) -> list[WSMessage | WSMessageTextBytes]:
        """Ends it, and returns all that it has read."""
        self.queue.feed_eof()
        messages = []
        with suppress(EofStream):
            while True:
                messages.append(await self.queue.read())
        return messages


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
    case, began = Case(rate=1.0), monotonic()
    case.feed(PING * PIECES * 100)
    for _ in range(1000):
        await turn()
    read = len(case.reader.data) / len(PING) / PIECES
    # A turn more than what was paid for may have been read.
    assert 10 <= read <= 11.5 + monotonic() - began
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


async def test_closed_client_is_read_slowly_behind_forbidden_frame() -> None:
    """Also before it was closed: its handler may be busy."""
    case = Case()
    case.feed(END)
    got = case.reader.data
    for number in range(3):
        case.feed(TEXT)
        assert case.holds == [True, False] * number + [True]
        await eventually(lambda: case.holds[-1] is False)
    assert case.reader.data == got


async def test_lost_connection_is_told() -> None:
    case = Case()
    assert not await case.intake.is_lost(0.001)
    waiting = asyncio.create_task(case.intake.is_lost(PATIENCE_SECONDS))
    await turn()
    case.intake.feed_eof()
    assert await waiting
    assert await case.intake.is_lost(PATIENCE_SECONDS)


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
