"""More messages than can be stored: senders wait, readers do not, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

import pytest
from grpclib.client import Channel

import chat
import codec
import proxy
from gen.chat import ChatMessage, ChatServiceStub, ChatStream, GetChatHistoryRequest
from hosting.addresses import split_address
from tests.docs.memory import MIB, stated
from tests.faults.flood import MEASURABLE, SLACK, Flooder, memory_bytes, stalled
from tests.faults.held_disk import MODULE, held, mounted
from tests.faults.history import Outcome, check
from tests.faults.journal import Journal
from tests.faults.storm import stored
from tests.faults.world import World
from tests.kit.web import RawWebSocket
from tests.proxy.web_client import message, visitor
from tests.support import ChatCall, eventually

pytestmark = [
    pytest.mark.skipif(not MEASURABLE, reason="memory is read from Linux's /proc"),
    pytest.mark.timeout(240),
]

PROXY, SERVER = stated()
# The journal, and SQLite's caches.
JOURNAL = SERVER.journal_of_short + SERVER.caches


class Flood(NamedTuple):
    """The clients of a flood, and their messages."""

    clients: int
    text: str


# A client that sends nothing for so long is held back.
LOOK_SECONDS = 1.0

FLOODS = [Flood(10, "x" * 12_000), Flood(2, "")]


def held_world(folder: Path) -> AbstractAsyncContextManager[World]:
    """A world whose disk can be held."""
    return World.running(folder, chat_module=MODULE)


class Memory:
    """Growth of the memory of both processes."""

    def __init__(self, world: World) -> None:
        self._pids = world.chat.pid, world.proxy.pid
        self._before = [memory_bytes(pid) for pid in self._pids]

    def check(self, clients: int, journal: int = 0) -> None:
        """Checks the bounds of the documentation, with default settings.

        Args:
            clients: number of sending clients.
            journal: the largest size of the journal, if anything is stored meanwhile.
        """
        assert self._more(0) < chat.Config().write_queue_bytes + journal + SLACK
        self.check_proxy(clients)

    def check_proxy(self, clients: int) -> None:
        """Checks the bound of the proxy alone."""
        assert self._more(1) < proxy.Config().hold_bytes + clients * PROXY.inward + SLACK

    def _more(self, nth: int) -> int:
        return memory_bytes(self._pids[nth]) - self._before[nth]


def flooders(flood: Flood, journal: Journal) -> list[Flooder]:
    """Two flooders in each room."""
    return [
        Flooder(f"user {n}", f"room {n // 2}", flood.text, journal) for n in range(flood.clients)
    ]


async def finish(crowd: list[Flooder], journal: Journal, url: str) -> None:
    """Waits until all is answered, and checks the history."""
    for each in crowd:
        each.stop()
    await journal.until(lambda: all(each.is_answered for each in crowd))
    rooms = sorted({f"room {n // 2}" for n in range(len(crowd))})
    journal.history.stored = await stored(url, rooms)
    assert check(journal.history) == []
    assert len(journal.history.sends) == sum(each.sent for each in crowd)


@pytest.mark.parametrize("flood", FLOODS, ids=["long", "short"])
async def test_web_senders_wait_for_slow_disk(tmp_path: Path, flood: Flood) -> None:
    journal = Journal()
    async with held_world(tmp_path) as world, visitor(world.url) as client:
        await client.ask(chat_message=message("other", "hello", "visitor"))
        memory = Memory(world)
        crowd = flooders(flood, journal)
        async with asyncio.TaskGroup() as group:
            with held(tmp_path):
                for each in crowd:
                    group.create_task(each.run(world.url))
                await stalled(crowd)
                assert all(each.sent for each in crowd)
                memory.check(flood.clients)
                # Whoever only reads is not held up.
                page = await client.ask(get_chat_history={"room_id": "other"})
                assert len(page["chat_history"]["messages"]) == 1
                assert "joined" in await client.ask(join={"room_id": "elsewhere"})
                assert journal.confirmed == 0
            await journal.confirmed_more(100)
            await finish(crowd, journal, world.url)
        outcomes = {send.outcome for send in journal.history.sends}
        assert outcomes == {Outcome.CONFIRMED}
        memory.check(flood.clients, JOURNAL)
        assert not world.tracebacks


class Streamer:
    """Sends on a `Chat` stream as fast as it can, without waiting for answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.stop = False
        self.seqs: list[int] = []

    async def run(self, stub: ChatServiceStub) -> None:
        async for answer in stub.chat(self._requests()):
            if answer.request_id is not None:
                self.seqs.append(answer.chat_message.seq)

    async def _requests(self) -> AsyncIterator[ChatStream]:
        while not self.stop:
            self.sent += 1
            key, text = str(self.sent), "x" * 12_000
            post = ChatMessage(id=key, room_id=self.name, sender_id=self.name, content=text)
            yield ChatStream(chat_message=post, request_id=key)
            # It does not yield while the window has room.
            await asyncio.sleep(0)


async def test_grpc_senders_wait_for_slow_disk(tmp_path: Path) -> None:
    crowd = [Streamer(f"user {n}") for n in range(20)]
    async with held_world(tmp_path) as world:
        memory = Memory(world)
        channel = Channel(*split_address(world.chat_address), codec=codec.GrpcCodec())
        stub = ChatServiceStub(channel)
        async with asyncio.TaskGroup() as group:
            with held(tmp_path):
                for each in crowd:
                    group.create_task(each.run(stub))
                await stalled(crowd)
                assert sum(each.sent for each in crowd) * 12_000 > 16 * MIB
                memory.check(0, len(crowd) * SERVER.inward)
                # Whoever only reads is not held up.
                page = await stub.get_chat_history(GetChatHistoryRequest("user 0"))
                assert page.messages == []
                async with ChatCall(stub) as joining:
                    assert await joining.enter("user 0") == 0
            for each in crowd:
                each.stop = True
        channel.close()
        # Each answer came, in order.
        for each in crowd:
            assert each.seqs == list(range(1, each.sent + 1))
        assert not world.tracebacks


async def test_held_sends_are_bounded(tmp_path: Path) -> None:
    """Beyond the bound, sends are refused as retryable; all others are stored."""
    journal = Journal()
    flood = Flood(5, "x" * 12_000)
    async with held_world(tmp_path) as world, visitor(world.url) as client:
        await client.ask(chat_message=message("other", "hello", "visitor"))
        memory = Memory(world)
        crowd = flooders(flood, journal)
        async with asyncio.TaskGroup() as group:
            with held(tmp_path):
                for each in crowd:
                    group.create_task(each.run(world.url))
                await stalled(crowd)
                await world.chat.kill()
            # Now they need not wait any more.
            await journal.until(lambda: all(each.refused > 10 for each in crowd))
            memory.check_proxy(flood.clients)
            for each in crowd:
                each.stop()
            await world.chat.start()
            await journal.confirmed_more(100)
            await finish(crowd, journal, world.url)
        outcomes = {send.outcome for send in journal.history.sends}
        assert outcomes == {Outcome.CONFIRMED, Outcome.REFUSED}
        assert not world.tracebacks


async def test_waiting_sender_leaves_nothing_behind(
    tmp_path: Path, chat_config: chat.Config
) -> None:
    """A held client that hangs up is forgotten, however slow the disk is."""
    with mounted():
        async with chat.serve(chat_config) as server:
            # Clients are looked after now and then, by the heartbeat.
            config = proxy.Config(
                port=0, upstream=server.address, hold_bytes=4096, heartbeat_seconds=0.5
            )
            # As in production: aiohttp's own server for tests cancels who serves a lost client.
            async with proxy.serve(config) as running:
                with held(tmp_path):
                    for _ in range(3):
                        client = await RawWebSocket.open("127.0.0.1", running.port)
                        for number in range(20):
                            await client.send(chat_message=message("lobby", str(number)))
                        assert served() > 0
                        client.close()
                    await eventually(lambda: served() == 0)


def served() -> int:
    """Number of connections being served, whether their clients are there or not."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return names.count("RequestHandler.start")


async def test_waiting_request_ids_are_bounded(tmp_path: Path) -> None:
    """Long ids are not counted with the messages, so only few of them wait."""
    request_id = "x" * 40_000
    async with held_world(tmp_path) as world:
        channel = Channel(*split_address(world.chat_address), codec=codec.GrpcCodec())
        memory = Memory(world)
        sent = 0

        async def requests() -> AsyncIterator[ChatStream]:
            nonlocal sent
            for number in range(2000):
                message = ChatMessage(str(number), "room", "ada", "hi")
                yield ChatStream(chat_message=message, request_id=request_id)
                sent += 1
                # It does not yield while the window has room.
                await asyncio.sleep(0)

        async def answered() -> int:
            return len([each async for each in ChatServiceStub(channel).chat(requests())])

        try:
            with held(tmp_path):
                asking = asyncio.create_task(answered())
                before = -1
                while sent != before:
                    before = sent
                    await asyncio.wait({asking}, timeout=LOOK_SECONDS)
                memory.check(clients=0)
            assert await asking == 2000
        finally:
            channel.close()
