"""The link itself: the effect of each kind of break on a connection."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from tests.faults.link import Link, Way
from tests.support import PATIENCE_SECONDS, eventually


class Ends(NamedTuple):
    """Both ends of one connection over a link."""

    link: Link
    reader: StreamReader
    writer: StreamWriter
    far_reader: StreamReader
    far_writer: StreamWriter


Dial = Callable[[Link], Awaitable[Ends]]


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Dial]]:
    """A link to a server of the test, and a client over it."""
    accepted: asyncio.Queue[tuple[StreamReader, StreamWriter]] = asyncio.Queue()
    writers: list[StreamWriter] = []

    async def dial(link: Link) -> Ends:
        host, port = link.address.split(":")
        near = await asyncio.open_connection(host, int(port))
        far = await accepted.get()
        writers.extend((near[1], far[1]))
        return Ends(link, *near, *far)

    server = await asyncio.start_server(lambda *each: accepted.put_nowait(each), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        async with Link.to(f"{host}:{port}") as link:
            yield link, dial
    finally:
        for writer in writers:
            writer.transport.abort()
        server.close()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    async with linked() as (link, dial):
        yield await dial(link)


async def arrived(reader: StreamReader, data: bytes) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await reader.readexactly(len(data)) == data


async def silent(reader: StreamReader) -> None:
    """Checks that nothing arrives, not even an end, while much else could have."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)


async def test_dropped_bytes_arrive_after_restore(ends: Ends) -> None:
    ends.link.drop()
    ends.writer.write(b"there")
    ends.far_writer.write(b"back")
    ends.far_writer.write_eof()
    await silent(ends.far_reader)
    await silent(ends.reader)
    ends.link.restore()
    await arrived(ends.far_reader, b"there")
    assert await ends.reader.read() == b"back"


async def test_blocked_sender_is_held_back(ends: Ends) -> None:
    ends.link.drop()
    ends.writer.write(b"x" * 64 * 1024 * 1024)
    await eventually(lambda: ends.writer.transport.get_write_buffer_size() < 60 * 1024 * 1024)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ends.writer.drain(), 0.05)


@pytest.mark.parametrize("way", Way)
async def test_other_direction_goes_on(ends: Ends, way: Way) -> None:
    ends.link.halve(way)
    ends.writer.write(b"there")
    ends.far_writer.write(b"back")
    for direction, reader, data in (
        (Way.THERE, ends.far_reader, b"there"),
        (Way.BACK, ends.reader, b"back"),
    ):
        await (silent(reader) if direction is way else arrived(reader, data))


async def test_severed_bytes_are_lost_with_reset(ends: Ends) -> None:
    ends.link.sever()
    ends.writer.write(b"lost")
    await silent(ends.far_reader)
    ends.link.restore()
    for reader in (ends.reader, ends.far_reader):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_connection_waits_while_severed() -> None:
    async with linked() as (link, dial):
        link.sever()
        ends = await dial(link)
        ends.writer.write(b"hello")
        await silent(ends.far_reader)
        link.restore()
        await arrived(ends.far_reader, b"hello")


async def test_delay_keeps_the_order(ends: Ends) -> None:
    loop = asyncio.get_running_loop()
    ends.link.delay(0.2)
    began = loop.time()
    for number in range(100):
        ends.writer.write(b"%02d" % number)
        await asyncio.sleep(0)
    await arrived(ends.far_reader, b"".join(b"%02d" % number for number in range(100)))
    assert loop.time() - began >= 0.2


async def test_cut_resets_old_and_new_connections(ends: Ends) -> None:
    ends.link.cut()
    for reader in (ends.reader, ends.far_reader):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    host, port = ends.link.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert ends.link.accepted == 2


async def test_half_close_passes_through(ends: Ends) -> None:
    ends.writer.write_eof()
    assert await ends.far_reader.read() == b""
    ends.far_writer.write(b"still")
    await arrived(ends.reader, b"still")
