"""`join` with a position: missed messages, then live ones."""

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
    ada: ChatCall, bob: ChatCall, after_seq: int | None, recovered: bool, heard: list[int]
) -> None:
    await fill(ada, 5)
    joined = await join(bob, after_seq=after_seq)
    assert (joined.last_seq, joined.recovered) == (5, recovered)
    await fill(ada, 1)
    assert seqs(await bob.hear_many(len(heard))) == heard


async def test_position_holds_for_its_epoch(ada: ChatCall, bob: ChatCall) -> None:
    await fill(ada, 3)
    epoch = (await join(bob)).epoch
    assert (await join(bob, after_seq=1, epoch=epoch)).recovered
    assert seqs(await bob.hear_many(2)) == [2, 3]
    for other in ("another", ""):
        joined = await join(bob, after_seq=1, epoch=other)
        assert (joined.recovered, joined.epoch, joined.last_seq) == (False, epoch, 3)


async def test_empty_room_is_recovered(bob: ChatCall) -> None:
    joined = await join(bob, after_seq=0)
    assert (joined.last_seq, joined.recovered) == (0, True)


async def test_replay_is_bounded(ada: ChatCall, bob: ChatCall) -> None:
    await fill(ada, REPLAY + 1)
    assert not (await join(bob, after_seq=0)).recovered
    assert (await join(bob, after_seq=1)).recovered
    assert seqs(await bob.hear_many(REPLAY)) == list(range(2, REPLAY + 2))
    await fill(ada, 1)
    assert (await bob.hear()).seq == REPLAY + 2


async def test_joining_again_replays_again(ada: ChatCall, bob: ChatCall) -> None:
    await fill(ada, 3)
    for _ in range(3):
        assert (await join(bob, after_seq=1)).recovered
        assert seqs(await bob.hear_many(2)) == [2, 3]
    await fill(ada, 2)
    assert seqs(await bob.hear_many(2)) == [4, 5]


async def test_replay_waits_for_a_slow_reader(chat_config: chat.Config) -> None:
    """A replay may exceed the reader's mailbox."""
    text = "字" * 5461
    config = replace(chat_config, mailbox_bytes=64 * 1024, replay_messages=1000)
    async with chat.serve(config) as server, channel_to(server, SMALL_WINDOWS) as channel:
        stub = ChatServiceStub(channel)
        async with ChatCall(stub) as ada, ChatCall(stub) as bob:
            for _ in range(50):
                await ada.post(message("room", text))
            assert (await join(bob, after_seq=0)).recovered
            assert seqs(await bob.hear_many(50)) == list(range(1, 51))
