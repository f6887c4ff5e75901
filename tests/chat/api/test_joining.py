"""`join` with a position: missed messages, then live ones."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

import chat
from gen.chat import ChatServiceStub, Joined
from tests.support import SMALL_WINDOWS, ChatCall, channel_to, message, seqs

REPLAY = 20


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    return replace(chat_config, replay_messages=REPLAY)


@pytest.fixture
async def sender(stub: ChatServiceStub) -> AsyncIterator[ChatCall]:
    async with ChatCall(stub) as call:
        yield call


@pytest.fixture
async def call(stub: ChatServiceStub) -> AsyncIterator[ChatCall]:
    async with ChatCall(stub) as call:
        yield call


async def fill(sender: ChatCall, number: int) -> None:
    for _ in range(number):
        await sender.post(message("room"))


async def join(call: ChatCall, **position: Any) -> Joined:
    call.join("room", **position)
    return (await call.receive()).joined


@pytest.mark.parametrize(
    ("after_seq", "recovered", "heard"),
    [
        (None, False, [6]),
        (0, True, [1, 2, 3, 4, 5, 6]),
        (2, True, [3, 4, 5, 6]),
        (4, True, [5, 6]),
        (5, True, [6]),
        (6, False, [6]),
        (2**32 - 1, False, [6]),
    ],
)
async def test_position_is_replayed_before_live(
    sender: ChatCall, call: ChatCall, after_seq: int | None, recovered: bool, heard: list[int]
) -> None:
    await fill(sender, 5)
    joined = await join(call, after_seq=after_seq)
    assert (joined.last_seq, joined.recovered) == (5, recovered)
    await fill(sender, 1)
    assert seqs(await call.hear_many(len(heard))) == heard


async def test_position_holds_for_its_epoch(sender: ChatCall, call: ChatCall) -> None:
    await fill(sender, 3)
    epoch = (await join(call)).epoch
    assert (await join(call, after_seq=1, epoch=epoch)).recovered
    assert seqs(await call.hear_many(2)) == [2, 3]
    for other in ("another", ""):
        joined = await join(call, after_seq=1, epoch=other)
        assert (joined.recovered, joined.epoch, joined.last_seq) == (False, epoch, 3)


async def test_empty_room_is_recovered(call: ChatCall) -> None:
    joined = await join(call, after_seq=0)
    assert (joined.last_seq, joined.recovered) == (0, True)


async def test_replay_is_bounded(sender: ChatCall, call: ChatCall) -> None:
    await fill(sender, REPLAY + 1)
    assert not (await join(call, after_seq=0)).recovered
    assert (await join(call, after_seq=1)).recovered
    assert seqs(await call.hear_many(REPLAY)) == list(range(2, REPLAY + 2))
    await fill(sender, 1)
    assert (await call.hear()).seq == REPLAY + 2


async def test_joining_again_replays_again(sender: ChatCall, call: ChatCall) -> None:
    await fill(sender, 3)
    for _ in range(3):
        assert (await join(call, after_seq=1)).recovered
        assert seqs(await call.hear_many(2)) == [2, 3]
    await fill(sender, 2)
    assert seqs(await call.hear_many(2)) == [4, 5]


async def test_replay_waits_for_a_slow_reader(chat_config: chat.Config) -> None:
    """A replay may exceed the reader's mailbox."""
    text = "字" * 5461
    config = replace(chat_config, mailbox_bytes=64 * 1024, replay_messages=1000)
    async with chat.serve(config) as server, channel_to(server, SMALL_WINDOWS) as channel:
        stub = ChatServiceStub(channel)
        async with ChatCall(stub) as sender, ChatCall(stub) as call:
            for _ in range(50):
                await sender.post(message("room", text))
            assert (await join(call, after_seq=0)).recovered
            assert seqs(await call.hear_many(50)) == list(range(1, 51))
