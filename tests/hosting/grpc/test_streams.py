"""Stream data: complete, in order, and the window always opens again."""

import asyncio
from itertools import count

import pytest
from grpclib.exceptions import ProtocolError
from h2.windows import WindowManager
from hypothesis import given
from hypothesis import strategies as st

from hosting.grpc.streams import ByteBuffer

WINDOW = 65_535
SIZES = st.lists(st.sampled_from([0, 1, 5, 4000, 32_768, 65_535, 65_536, 200_000]), max_size=6)


class Peer:
    """Sends as much as the window allows, in pieces."""

    def __init__(self, pieces: list[int]) -> None:
        self.buffer = ByteBuffer(self.opened)
        self._pieces = pieces
        self._window = WINDOW
        self._told = WindowManager(WINDOW)
        self._open = asyncio.Event()
        self.acknowledged = 0

    def opened(self, size: int) -> None:
        assert size > 0
        self.acknowledged += size
        # h2 sends no small window updates.
        self._window += self._told.process_bytes(size) or 0
        assert self._window == self._told.current_window_size
        self._open.set()

    async def send(self, data: bytes) -> None:
        """Sends everything, then the end."""
        for nth in count():
            if not data:
                break
            while not self._window:
                self._open.clear()
                await self._open.wait()
            size = min(self._pieces[nth % len(self._pieces)], self._window, len(data))
            self._window -= size
            self._told.window_consumed(size)
            self.buffer.add(data[:size], size)
            data = data[size:]
            if nth % 3 == 0:
                await asyncio.sleep(0)
        self.buffer.eof()


@given(SIZES, st.lists(st.sampled_from([1000, 3001, 16_384]), min_size=1, max_size=3))
def test_buffer_passes_messages_of_any_size(sizes: list[int], pieces: list[int]) -> None:
    async def converse() -> None:
        peer = Peer(pieces)
        prefixes = [b"%05d" % nth for nth in range(len(sizes))]
        messages = [bytes([nth]) * size for nth, size in enumerate(sizes)]
        pairs = zip(prefixes, messages, strict=True)
        sending = asyncio.create_task(peer.send(b"".join(map(b"".join, pairs))))
        for prefix, message in zip(prefixes, messages, strict=True):
            assert await peer.buffer.read(5) == prefix
            assert await peer.buffer.read(len(message)) == message
        assert await peer.buffer.read(5) == b""
        await sending
        received = sum(sizes) + 5 * len(sizes)
        assert peer.acknowledged + peer.buffer.unacked_size() == received

    asyncio.run(converse())


@pytest.mark.parametrize("data", [b"1234", b"12345", b"12345678"])
async def test_buffer_refuses_a_cut_message(data: bytes) -> None:
    peer = Peer([len(data)])
    await peer.send(data)

    async def read() -> None:
        await peer.buffer.read(5)
        await peer.buffer.read(4)

    with pytest.raises(ProtocolError, match="within a message"):
        await read()


async def test_padding_is_acknowledged_at_once() -> None:
    acknowledged: list[int] = []
    buffer = ByteBuffer(acknowledged.append)
    buffer.add(b"12345", 105)
    assert acknowledged == [100]
    assert buffer.unacked_size() == 5
