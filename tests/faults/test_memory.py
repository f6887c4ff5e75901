"""Each term of "How much memory" in docs/reliability.md, driven to its limit in real processes."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import betterproto
import pytest
from grpclib.client import Channel
from grpclib.config import Configuration

import codec
from chat.api.batches import Columns
from chat.storage.sqlite.journal import Journal
from chat.storage.sqlite.schema import open_writer
from gen.chat import (
    ChatMessage,
    ChatMessages,
    ChatServiceStub,
    Join,
    Joined,
    Leave,
    Presence,
    RelayCommand,
    RelayEvent,
    RelayRequest,
    RelayServiceStub,
    Stored,
    Texts,
)
from hosting.addresses import split_address
from tests.docs.memory import MIB, stated
from tests.faults.flood import MEASURABLE, SLACK, memory_bytes
from tests.faults.world import World
from tests.kit.processes import Daemon
from tests.kit.web import RawWebSocket
from tests.proxy.web_client import Client
from tests.support import SMALL_WINDOWS, ChatCall, RelayCall, eventually

pytestmark = [
    pytest.mark.skipif(not MEASURABLE, reason="memory is read from Linux's /proc"),
    pytest.mark.timeout(300),
]

PROXY, SERVER = stated()
TEXT: Final = "x" * 16_000
# Largest overhead of a waiting message, beside its text.
MOST_AROUND_TEXT: Final = 200
CUT_OFF: Final = "slow consumer"
LOOK_SECONDS: Final = 0.05
# Number of messages sent to a room at once.
TOGETHER: Final = 16


class Scales:
    """The highest memory use of a process while it is watched."""

    def __init__(self, daemon: Daemon) -> None:
        self._pid = daemon.pid
        self.idle = self.most = memory_bytes(self._pid)

    @property
    def more(self) -> int:
        """Growth of its memory since it was idle."""
        return self.most - self.idle

    def look(self) -> int:
        """Measures; returns the growth."""
        now = memory_bytes(self._pid)
        self.most = max(self.most, now)
        return now - self.idle

    async def watch(self) -> None:
        """Measures repeatedly."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def watched(daemon: Daemon) -> AsyncIterator[Scales]:
    """Watches a process's memory; measures once more at the end."""
    scales = Scales(daemon)
    watching = asyncio.create_task(scales.watch())
    try:
        yield scales
        scales.look()
    finally:
        watching.cancel()
        await asyncio.wait([watching])


class Sender:
    """Sends to rooms over a relay stream of its own that gets no text back."""

    def __init__(self, call: RelayCall, rooms: Sequence[str]) -> None:
        self._call = call
        self._rooms = rooms
        self._numbers = count(1)

    async def enter(self) -> None:
        """Joins the rooms; only positions of its own messages come back."""
        self._call.batch(*(RelayCommand(next(self._numbers), join=Join(r)) for r in self._rooms))
        await self._answers(len(self._rooms))

    async def send(self, rooms: Sequence[str], text: str = TEXT) -> None:
        """Sends a message to each of some rooms, and waits until all are stored."""
        commands = []
        for room in rooms:
            ref = next(self._numbers)
            post = ChatMessage(id=str(ref), room_id=room, sender_id="s", content=text)
            commands.append(RelayCommand(ref, chat_message=post))
        self._call.batch(*commands)
        events = await self._answers(len(rooms))
        assert all(event.chat_message.seq for event in events)

    async def _answers(self, number: int) -> list[RelayEvent]:
        """Returns the next events but those that ask for something."""
        answers: list[RelayEvent] = []
        while len(answers) < number:
            events = await self._call.events(1)
            answers += (
                each for each in events if betterproto.which_one_of(each, "event")[0] != "wanted"
            )
        return answers


@asynccontextmanager
async def sender(world: World, rooms: Sequence[str]) -> AsyncIterator[Sender]:
    async with channel(world) as own, RelayCall(RelayServiceStub(own)) as call:
        one = Sender(call, rooms)
        await one.enter()
        yield one


@asynccontextmanager
async def channel(world: World, config: Configuration | None = None) -> AsyncIterator[Channel]:
    host, port = split_address(world.chat_address)
    made = Channel(host, port, codec=codec.GrpcCodec(), config=config)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def stuck_clients(world: World, rooms: Sequence[str], **more: int) -> AsyncIterator[None]:
    """WebSocket clients, one per room, that read nothing after they joined."""
    host, port = split_address(urlsplit(world.url).netloc)
    async with AsyncExitStack() as stack:
        for room in rooms:
            client = await RawWebSocket.open(host, port)
            stack.enter_context(closing(client))
            await client.send(join={"room_id": room, **more})
            assert "joined" in await client.read_json()
        yield


def cut_off(daemon: Daemon) -> int:
    """Number of slow consumers that the process has cut off."""
    return daemon.errors.count(CUT_OFF)


async def test_memory_of_unread_client_frames(tmp_path: Path) -> None:
    """Each client has a room of its own, so no two share bytes."""
    rooms = [f"room {n}" for n in range(32)]
    async with (
        # Clients that do not read answer no ping either.
        World.running(tmp_path, "--heartbeat-seconds", "600") as world,
        stuck_clients(world, rooms),
        sender(world, rooms) as one,
        watched(world.proxy) as scales,
    ):
        while cut_off(world.proxy) < len(rooms):
            await one.send(rooms)
        scales.look()
        assert scales.idle < PROXY.idle + SLACK
        assert scales.more < len(rooms) * PROXY.outward + SLACK


async def test_memory_of_unread_replays(tmp_path: Path) -> None:
    rooms = ["room"] * 40
    async with (
        # Long waits for clients, and for the server, which may be busy.
        World.running(tmp_path, "--heartbeat-seconds", "3", "--call-seconds", "240") as world,
        sender(world, rooms[:1]) as one,
    ):
        # More than the system buffers for each of them.
        for _ in range(12 * MIB // len(TEXT)):
            await one.send(rooms[:1])
        async with watched(world.proxy) as scales, stuck_clients(world, rooms, after_seq=0):
            await eventually(lambda: cut_off(world.proxy) == len(rooms), seconds=240)
        assert scales.more < len(rooms) * PROXY.replay + SLACK


async def test_memory_of_full_mailboxes(tmp_path: Path) -> None:
    """All mailboxes are nearly full at once; a little more, and they overflow."""
    large = ["large 1", "large 2"]
    small = [f"small {n}" for n in range(24)]
    size = len(TEXT) + MOST_AROUND_TEXT
    async with (
        World.running(tmp_path) as world,
        channel(world, SMALL_WINDOWS) as unread,
        AsyncExitStack() as stack,
        sender(world, [*large, *small]) as one,
    ):
        for room in large:
            relay = await stack.enter_async_context(RelayCall(RelayServiceStub(unread)))
            relay.batch(RelayCommand(1, join=Join(room)))
            await relay.event()
        for room in small:
            call = await stack.enter_async_context(ChatCall(ChatServiceStub(unread)))
            await call.enter(room)
        async with watched(world.chat) as scales:
            for _ in range(SERVER.proxy // size // TOGETHER):
                await one.send(large * TOGETHER)
            for _ in range(SERVER.proxy // size % TOGETHER):
                await one.send(large)
            for _ in range(MIB // size):
                await one.send(small)
            now = scales.look()
            assert not cut_off(world.chat)
            assert now > len(large) * SERVER.proxy
            while cut_off(world.chat) < len(large) + len(small):
                await one.send([*large, *small])
        waiting = len(large) * SERVER.proxy + len(small) * SERVER.outward
        assert scales.idle < SERVER.idle + SLACK
        assert scales.more < waiting + SERVER.journal_of_long + SERVER.caches + SLACK


def short(first: int, number: int) -> ChatMessages:
    """The shortest possible messages."""
    refs = list(range(first, first + number))
    ids = [str(ref) for ref in refs]
    ones = [1] * number
    return ChatMessages(
        refs=refs,
        ids=Texts("".join(ids), [len(each) for each in ids]),
        room_ids=Texts("r" * number, ones),
        sender_ids=Texts("s" * number, ones),
        contents=Texts("x" * number, ones),
    )


async def send_short(world: World, batches: int, size: int) -> None:
    """Sends them as fast as the server accepts, and waits until all are stored."""
    all_stored = asyncio.Event()
    stored = 0

    async def requests() -> AsyncIterator[RelayRequest]:
        yield RelayRequest(commands=[RelayCommand(1, join=Join("r"))])
        for n in range(batches):
            yield RelayRequest(commands=[RelayCommand(chat_messages=short(2 + n * size, size))])
            # It does not yield while the window has room.
            await asyncio.sleep(0)
        await all_stored.wait()

    async with channel(world) as own:
        async for response in RelayServiceStub(own).relay(requests()):
            for event in response.events:
                news = event.event
                assert isinstance(news, Joined | Stored)
                stored += len(news.refs) if isinstance(news, Stored) else 0
            if stored == batches * size:
                all_stored.set()


async def test_memory_of_short_messages(tmp_path: Path) -> None:
    mailbox = 16 * MIB
    async with (
        World.running(tmp_path, chat_options=("--relay-mailbox-bytes", str(mailbox))) as world,
        channel(world, SMALL_WINDOWS) as unread,
        RelayCall(RelayServiceStub(unread)) as relay,
    ):
        relay.batch(RelayCommand(1, join=Join("r")))
        await relay.event()
        async with watched(world.chat) as scales:
            await send_short(world, batches=150, size=2000)
        assert cut_off(world.chat) == 1
        most = SERVER.sends + SERVER.journal_of_short + SERVER.caches + mailbox
        assert scales.more < most + SLACK


ROOMS: Final = 25_000
USERS: Final = 25_000
# For half as many as would need all of it.
LITTLE_SLACK: Final = SLACK // 2
# Its answer comes behind all earlier answers.
BARRIER: Final = RelayCommand(1, leave=Leave("room"))


def name(number: int) -> str:
    """A name of 64 characters."""
    return f"{number:064}"


async def test_memory_of_stream_rooms_and_users(tmp_path: Path) -> None:
    async with (
        World.running(tmp_path) as world,
        channel(world) as own,
        RelayCall(RelayServiceStub(own)) as relay,
    ):
        async with watched(world.chat) as scales:
            for first in range(1, ROOMS, 1000):
                batch = [RelayCommand(n, join=Join(name(n))) for n in range(first, first + 1000)]
                relay.batch(*batch)
                await relay.events(len(batch))
        assert scales.more < ROOMS * SERVER.room + LITTLE_SLACK
        async with watched(world.chat) as scales:
            for first in range(1, USERS, 1000):
                users = [Presence(name(n), True) for n in range(first, first + 1000)]
                relay.batch(*(RelayCommand(1, presence=each) for each in users), BARRIER)
                await relay.event()
        assert scales.more < USERS * SERVER.user + LITTLE_SLACK


async def test_memory_of_proxy_rooms_and_users(tmp_path: Path) -> None:
    clients = 12
    async with (
        World.running(tmp_path) as world,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        sockets = [
            await stack.enter_async_context(session.ws_connect(world.url)) for _ in range(clients)
        ]

        async def each(index: int, *, users: bool) -> None:
            client = Client(sockets[index])
            for number in range(index * 1000, index * 1000 + 1000):
                if users:
                    await client.say(name(index * 1000), "x", sender_id=name(number))
                else:
                    await client.send(join={"room_id": name(number)})
                await client.receive()

        for users, term in ((False, PROXY.room), (True, PROXY.user)):
            async with watched(world.proxy) as scales:
                await asyncio.gather(*(each(index, users=users) for index in range(clients)))
            assert scales.more < clients * 1000 * term + LITTLE_SLACK


def test_memory_of_journal_names(tmp_path: Path) -> None:
    """Measured with fewer than the limit."""
    number, most = 10_000, 120_000
    connection = open_writer(str(tmp_path / "chat.db"))
    tracemalloc.start()
    try:
        journal = Journal(connection, 2 * MIB)
        before, _ = tracemalloc.get_traced_memory()
        for first in range(0, number, 1000):
            names = [name(n) for n in range(first, first + 1000)]
            journal.store(
                [[ChatMessage(each, f"r{each[1:]}", f"s{each[1:]}", "x") for each in names]], []
            )
        while not journal.is_empty():
            journal.fold()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        connection.close()
    assert 0.7 * SERVER.names < taken / number * most < SERVER.names


def test_memory_of_journal_short_messages(tmp_path: Path) -> None:
    """Measured with a small journal, by what Python allocates for it."""
    size = 2 * MIB
    connection = open_writer(str(tmp_path / "chat.db"))
    tracemalloc.start()
    try:
        journal = Journal(connection, size)
        before, _ = tracemalloc.get_traced_memory()
        number = 1
        while not journal.is_due(idle=True):
            columns = Columns(codec.decode(ChatMessages, bytes(codec.encode(short(number, 1000)))))
            journal.store([[message for _, _, message in columns]], [])
            number += 1000
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        connection.close()
    most = SERVER.journal_of_short / SERVER.journal_of_long
    assert 0.7 * most < taken / size < most
