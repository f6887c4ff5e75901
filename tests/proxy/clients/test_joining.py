"""Joining and resuming, through a real proxy and a real chat server."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product

import pytest

import proxy
from tests.proxy.web_client import (
    Connect,
    Frame,
    contents,
    joined,
    message,
    seqs,
    serve_http,
)


@pytest.fixture
async def epoch(connect: Connect) -> str:
    """The epoch of a room "lobby" that holds five messages."""
    client = await connect()
    for number in range(1, 6):
        await client.ask(chat_message=message("lobby", str(number)))
    epoch = (await client.ask(join={"room_id": "lobby"}))["joined"]["epoch"]
    assert isinstance(epoch, str)
    return epoch


async def test_missed_messages_are_replayed(connect: Connect, epoch: str) -> None:
    positions = [*product((0, 1, 4, 5), ({}, {"epoch": epoch}))]
    for last, (after_seq, more) in enumerate(positions, 5):
        client = await connect()
        answer = await client.ask(join={"room_id": "lobby", "after_seq": after_seq, **more})
        assert answer["joined"]["recovered"] is True
        assert seqs(await client.take(last - after_seq)) == list(range(after_seq + 1, last + 1))
        live = await client.ask(chat_message=message("lobby"))
        assert live["chat_message"]["seq"] == last + 1


async def test_impossible_replay_is_reported(connect: Connect, epoch: str) -> None:
    impossible: list[Frame] = [
        {},
        {"after_seq": 100},
        {"after_seq": 2**32 - 1},
        {"after_seq": 2, "epoch": "another"},
        {"after_seq": 2, "epoch": ""},
        {"epoch": "another"},
    ]
    joined = {"room_id": "lobby", "epoch": epoch, "recovered": False}
    for last_seq, position in enumerate(impossible, 5):
        client = await connect()
        answer = await client.ask(join={"room_id": "lobby", **position})
        assert answer == {"joined": {**joined, "last_seq": last_seq}}, position
        assert await client.barrier() == []
        live = await client.ask(chat_message=message("lobby"))
        assert live["chat_message"]["seq"] == last_seq + 1
    # Just ahead.
    answer = await (await connect()).ask(join={"room_id": "lobby", "after_seq": 12})
    assert answer == {"joined": {**joined, "last_seq": 11}}


async def test_replay_limit_is_kept(proxy_config: proxy.Config) -> None:
    config = proxy.Config(upstream=proxy_config.upstream, replay_messages=3)
    async with serve_http(config) as http:
        client, late = await joined(http, "lobby"), await joined(http, "attic")
        for _ in range(5):
            await client.ask(chat_message=message("lobby"))
        for after_seq, replayed in ((1, 0), (2, 3)):
            answer = await late.ask(join={"room_id": "lobby", "after_seq": after_seq})
            assert answer["joined"]["recovered"] is bool(replayed)
            assert len(await late.barrier()) == replayed


async def test_long_replay_is_whole_and_ordered(connect: Connect) -> None:
    sender, late = await connect(), await connect()
    total = 1203
    for number in range(total):
        await sender.say("lobby", str(number))
    await sender.take(total)
    await late.ask(join={"room_id": "lobby", "after_seq": 0})
    frames = await late.take(total)
    assert seqs(frames) == list(range(1, total + 1))
    assert contents(frames) == [str(number) for number in range(total)]
    assert await late.barrier() == []


@pytest.fixture
async def talkers(connect: Connect) -> AsyncIterator[None]:
    """Three clients that send to "lobby" continuously, each after its last answer."""

    async def talk(name: str) -> None:
        client = await connect()
        while True:
            await client.say("lobby", "…", sender_id=name)
            await client.take_until(lambda f: f["chat_message"]["sender_id"] == name)

    tasks = [asyncio.create_task(talk(name)) for name in ("ada", "bob", "eve")]
    yield
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


@pytest.mark.usefixtures("talkers")
async def test_replay_meets_live_without_gap(connect: Connect) -> None:
    async def follow() -> None:
        client, cursor = await connect(), 0
        for _ in range(8):
            answer = await client.ask(join={"room_id": "lobby", "after_seq": cursor})
            assert answer["joined"]["recovered"] is True
            frames = await client.take_until_seq(answer["joined"]["last_seq"] + 5)
            await client.send(leave={"room_id": "lobby"})
            frames += await client.take_until(lambda f: "left" in f)
            got = seqs(frames[:-1])
            assert got == list(range(cursor + 1, cursor + 1 + len(got)))
            cursor = got[-1]
            assert await client.barrier() == []

    await asyncio.gather(*(follow() for _ in range(10)))


@pytest.mark.usefixtures("talkers")
async def test_rejoin_replays_without_gap(connect: Connect) -> None:
    client = await connect()
    await client.send(join={"room_id": "lobby", "after_seq": 0}, request_id="0")
    for again in range(1, 10):
        frames = await client.take_until_seq(5)
        await client.send(join={"room_id": "lobby", "after_seq": 0}, request_id=str(again))
        frames += await client.take_until_answer(str(again))
        got = [f["chat_message"]["seq"] for f in frames if "chat_message" in f]
        assert got == list(range(1, len(got) + 1))


async def test_rejoining_member_gets_messages_once(connect: Connect) -> None:
    client, sender = await connect(), await connect()
    for _ in range(3):
        await client.ask(join={"room_id": "lobby"})
    await sender.ask(chat_message=message("lobby"))
    assert len(await client.barrier()) == 1


async def test_replay_answers_message_once(connect: Connect) -> None:
    keeper, client = await connect(), await connect()
    await keeper.ask(join={"room_id": "lobby"})
    for number in range(600):
        await keeper.say("lobby", str(number))
    await keeper.take(600)
    await client.send(chat_message=message("lobby", "mine"), request_id="mine")
    await client.send(join={"room_id": "lobby", "after_seq": 0})
    await keeper.take_until_content("mine")
    await keeper.say("lobby", "end")
    frames = await client.take_until_content("end")
    [start] = [index for index, frame in enumerate(frames) if "joined" in frame]
    assert seqs(frames[start + 1 :]) == list(range(1, 603))
    answers = [frame for frame in frames if frame.get("request_id") == "mine"]
    assert contents(answers) == ["mine"]


async def test_two_rooms_do_not_mix(connect: Connect) -> None:
    client, sender = await connect(), await connect()
    for room_id in ("lobby", "attic"):
        await client.ask(join={"room_id": room_id})
    for number in range(20):
        await sender.say(("lobby", "attic")[number % 2], str(number))
    frames = await client.take(20)
    for room_id, start in (("lobby", 0), ("attic", 1)):
        own = [frame for frame in frames if frame["chat_message"]["room_id"] == room_id]
        assert seqs(own) == list(range(1, 11))
        assert contents(own) == [str(number) for number in range(start, 20, 2)]
