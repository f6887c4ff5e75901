"""A client that moves to a proxy slightly behind its former one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

import chat
import proxy
from tests.faults.link import Link, Way
from tests.proxy.web_client import Client, Frame, Http, connect, joined, message, seqs, serve_http
from tests.support import ANY_NUMBER, NO_RATES

MOVES = 25


@dataclass
class Pair:
    """Two proxies in front of one server, and the link of the second."""

    ahead: Http
    behind: Http
    link: Link


@asynccontextmanager
async def opened(server: chat.RunningServer, **behind: Any) -> AsyncIterator[Pair]:
    """Opens both, the second with these settings."""
    config = proxy.Config(
        upstream=server.address,
        rates=NO_RATES,
        admission=ANY_NUMBER,
        upstream_heartbeat_seconds=600,
    )
    async with (
        Link.to(server.address) as link,
        serve_http(config) as ahead,
        serve_http(replace(config, upstream=link.address, **behind)) as second,
    ):
        yield Pair(ahead, second, link)


@pytest.fixture
async def pair(chat_server: chat.RunningServer) -> AsyncIterator[Pair]:
    async with opened(chat_server) as pair:
        yield pair


async def post(client: Client, number: int) -> Frame:
    """Sends a message; returns it as stored."""
    answer = await client.ask(chat_message=message("lobby", str(number)))
    found = answer["chat_message"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("with_epoch", [True, False])
async def test_moved_client_gets_later_messages(pair: Pair, with_epoch: bool) -> None:
    resident = await joined(pair.behind, "lobby")
    mover, other = await joined(pair.ahead, "lobby"), await joined(pair.ahead, "lobby")
    epoch = (await mover.ask(join={"room_id": "lobby"}))["joined"]["epoch"]
    # Nothing reaches the second proxy any more.
    pair.link.halve(Way.BACK)
    had = [await post(mover, number) for number in range(1, 4)][-1]
    await other.take(3)
    for number in range(4, 6):
        await post(other, number)
    moved = await connect(pair.behind)
    position: dict[str, Any] = {"after_seq": had["seq"]} | ({"epoch": epoch} if with_epoch else {})
    await moved.send(join={"room_id": "lobby", **position})
    pair.link.restore()
    answer = (await moved.receive())["joined"]
    assert (answer["recovered"], answer["epoch"]) == (True, epoch)
    assert answer["last_seq"] >= 3
    await post(other, 6)
    assert seqs(await moved.take(3)) == [4, 5, 6]
    assert seqs(await resident.take(6)) == [1, 2, 3, 4, 5, 6]
    assert await moved.barrier() == []


async def test_moves_under_load_lose_nothing(pair: Pair) -> None:
    """Nor do they repeat anything, however far the second proxy is behind."""
    resident = await joined(pair.behind, "lobby")
    mover = await joined(pair.ahead, "lobby")
    pair.link.delay(0.02)
    for number in range(MOVES):
        had = (await post(mover, number))["seq"]
        moved = await connect(pair.behind)
        await moved.send(join={"room_id": "lobby", "after_seq": had})
        more = number % 3
        for _ in range(more):
            await post(mover, number)
        frames = [await moved.receive()]
        assert frames[0]["joined"]["recovered"] is True, frames
        assert seqs(await moved.take(more)) == list(range(had + 1, had + 1 + more))
        await moved.socket.close()
    pair.link.restore()
    last = (await post(mover, MOVES))["seq"]
    assert seqs(await resident.take(last)) == list(range(1, last + 1))


async def test_position_of_nobody_is_not_awaited(pair: Pair) -> None:
    """Neither one that the server does not have, nor one of another history."""
    mover = await joined(pair.ahead, "lobby")
    had = await post(mover, 1)
    liar = await joined(pair.behind, "lobby")
    for after_seq in (had["seq"] + 1, 2**32 - 1):
        answer = await liar.ask(join={"room_id": "lobby", "after_seq": after_seq})
        assert answer["joined"]["recovered"] is False
        assert answer["joined"]["last_seq"] == 1
    # The server is not even asked.
    await joined(pair.behind, "lobby")
    pair.link.halve(Way.BACK)
    position = {"after_seq": 3, "epoch": "another"}
    answer = await liar.ask(join={"room_id": "lobby", **position})
    assert answer["joined"]["recovered"] is False


async def test_lagging_proxy_answers_in_time(chat_server: chat.RunningServer) -> None:
    async with opened(chat_server, call_seconds=0.3) as pair:
        await joined(pair.behind, "lobby")
        mover = await joined(pair.ahead, "lobby")
        moved, beside = await connect(pair.behind), await connect(pair.behind)
        pair.link.halve(Way.BACK)
        had = await post(mover, 1)
        position = {"after_seq": had["seq"]}
        asking = asyncio.create_task(moved.ask(join={"room_id": "lobby", **position}))
        # No other client waits for that.
        assert (await beside.ask(join={"room_id": "lobby"}))["joined"]["last_seq"] == 0
        answer = await asking
        assert (answer["error"]["code"], answer["error"]["retryable"]) == ("UNAVAILABLE", True)


async def test_moved_client_gets_later_changes(pair: Pair) -> None:
    follow = {"room_id": "lobby", "follow": ["CHANGES"]}
    await joined(pair.behind, "lobby")
    mover = await joined(pair.ahead, "lobby", follow=["CHANGES"])
    await post(mover, 1)
    about = {"room_id": "lobby", "seq": 1, "user_id": "ada"}
    pair.link.halve(Way.BACK)
    await mover.send(change_message=about | {"react": "1"})
    await mover.take_until(lambda frame: "changes" in frame)
    moved, liar = await connect(pair.behind), await connect(pair.behind)
    position = {"after_seq": 1, "after_change": 1}
    await moved.send(join=follow | position)
    pair.link.restore()
    answer = (await moved.receive())["joined"]
    assert (answer["recovered"], answer["last_change"]) == (True, 1)
    await mover.send(change_message=about | {"react": "2"})
    changes = (await moved.receive())["changes"]
    assert (changes["after_change"], changes["last_change"]) == (1, 2)
    # What the server does not have is not waited for.
    answer = (await liar.ask(join=follow | {"after_seq": 1, "after_change": 2**32 - 1}))["joined"]
    assert answer["recovered"] is False
