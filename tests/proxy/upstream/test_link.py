"""A broken link to a chat server that goes on is a pause for WebSocket clients."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from aiohttp import WSMsgType

import chat
import proxy
from gen.chat import (
    ChatMessage,
    ChatServiceStub,
    ChatStream,
)
from proxy.core.outbox import Outbox
from proxy.core.switchboard import Switchboard
from proxy.upstream.link import Link as Upstream
from tests.faults.link import Link
from tests.kit.web import RawWebSocket, masked
from tests.proxy.pauses import (
    HOLD_SECONDS,
    check_all_once,
    linked,
    members,
    talk,
    unready,
)
from tests.proxy.web_client import (
    Client,
    Frame,
    Http,
    connect,
    contents,
    message,
    seqs,
    serve_http,
)
from tests.support import NO_RATES


async def write(stub: ChatServiceStub, text: str) -> None:
    """Stores a message without the proxy."""
    sent = ChatMessage(room_id="lobby", sender_id="direct", content=text)
    async for _ in stub.chat([ChatStream(chat_message=sent)]):
        return


@asynccontextmanager
async def in_a_long_room(
    server: chat.RunningServer,
) -> AsyncIterator[tuple[Link, Http, Client, RawWebSocket]]:
    """A link, a proxy over it, a member of "lobby", and a client that reads on demand.

    There is more history in the room than fits into the client's buffers.
    """
    async with Link.to(server.address) as link:
        config = proxy.Config(
            upstream=link.address, call_seconds=0.3, hold_seconds=HOLD_SECONDS, rates=NO_RATES
        )
        async with serve_http(config) as http:
            [sender] = await members(http, 1)
            for _ in range(600):
                await sender.say("lobby", "x" * 16_000)
            await sender.take(600)
            with closing(await RawWebSocket.connect(http)) as client:
                yield link, http, sender, client


async def test_link_survives_repeated_breaks(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with (
        Link.to(chat_server.address) as link,
        serve_http(proxy.Config(upstream=link.address, hold_seconds=HOLD_SECONDS)) as http,
    ):
        [reader], stop = await members(http, 1), asyncio.Event()
        talkers = [
            asyncio.create_task(talk(await connect(http), name, stop)) for name in ("ada", "bob")
        ]
        frames: list[Frame] = []
        for number in range(10):
            link.cut()
            await write(stub, f"direct {number}")
            link.restore()
            frames += await reader.take(number + 1)
        stop.set()
        sent = {text for texts in await asyncio.gather(*talkers) for text in texts}
        sent |= {f"direct {number}" for number in range(10)}
        frames += await reader.take(len(sent) - len(frames))
        check_all_once(frames, sent)
        assert await reader.barrier() == []


async def test_unfinished_replay_is_reported(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async with in_a_long_room(chat_server) as (link, http, sender, client):
        await client.send(join={"room_id": "lobby", "after_seq": 0})
        told = await client.read_json()
        assert told["joined"]["recovered"] is True
        # There is far more to replay than fits into the buffers in between.
        link.cut()
        await unready(http)
        frames = [await client.read_json()]
        while "chat_message" in frames[-1]:
            frames.append(await client.read_json())
        assert seqs(frames[:-1]) == list(range(1, len(frames)))
        assert frames[-1]["joined"]["recovered"] is False
        link.restore()
        await linked(sender)
        await write(stub, "live")
        assert contents([await client.read_json()]) == ["live"]


async def test_aborted_replay_answers_own_messages(chat_server: chat.RunningServer) -> None:
    async with in_a_long_room(chat_server) as (link, http, sender, client):
        # Its answer is to be found at the end of the replay that it asks for next.
        said = {"chat_message": message("lobby", "mine"), "request_id": "mine"}
        asked = {"join": {"room_id": "lobby", "after_seq": 0}}
        whole = [masked(WSMsgType.TEXT, json.dumps(each).encode()) for each in (said, asked)]
        await client.send_bytes(b"".join(whole))
        assert contents(await sender.take(1)) == ["mine"]
        link.cut()
        await unready(http)
        frames, answers, ended = [], list[Frame](), False
        # If a page has come too late, the replay has ended before the message was stored.
        while not (ended and answers):
            frames.append(await client.read_json())
            answers = [frame for frame in frames if frame.get("request_id") == "mine"]
            ended |= frames[-1].get("joined", {}).get("recovered") is False
        assert seqs(answers) == [601]
        link.restore()


async def test_stop_outlives_lost_link(chat_server: chat.RunningServer) -> None:
    config = proxy.Config(upstream=chat_server.address)
    link = Upstream(config, Switchboard(config, Outbox()))
    running = asyncio.create_task(link.run())
    while not await link.is_ready():
        assert not running.done()
        await asyncio.sleep(0)
    assert link._link is not None  # noqa: SLF001 - both must happen in one turn
    protocol = link._link.channel._protocol  # noqa: SLF001 - likewise
    assert protocol is not None
    protocol.processor.close("the link is lost")
    running.cancel()
    stopped, _ = await asyncio.wait({running}, timeout=10)
    running.cancel()
    assert stopped, "the cancellation was lost"
    assert running.cancelled()
