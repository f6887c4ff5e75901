"""The seam between history and live messages, under constant sending."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from grpclib.client import Channel

from gen.chat import ChatServiceStub, RelayCommand, RelayServiceStub
from tests.support import ChatCall, RelayCall, message, seqs

ROOM = "room"


@asynccontextmanager
async def messages_keep_coming(channel: Channel) -> AsyncIterator[None]:
    """Sends without pause from a relay that is not in the room."""
    stop = asyncio.Event()

    async def send() -> None:
        number = 0
        async with RelayCall(RelayServiceStub(channel)) as relay:
            while not stop.is_set():
                refs = range(number + 1, number + 6)
                number += 5
                relay.batch(*(command(ref) for ref in refs))
                await relay.events(5)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        try:
            yield
        finally:
            stop.set()


def command(ref: int) -> RelayCommand:
    return RelayCommand(ref=ref, chat_message=message(ROOM, key=str(ref)))


async def join_often(stub: ChatServiceStub, times: int) -> None:
    """Joins on a new stream each time, from the last position or a little before."""
    position = 0
    for _ in range(times):
        async with ChatCall(stub) as call:
            call.join(ROOM, after_seq=position)
            joined = (await call.receive()).joined
            assert joined.recovered
            heard = await call.hear_many(joined.last_seq - position + 7)
            assert seqs(heard) == list(range(position + 1, position + 1 + len(heard)))
            position = heard[-1].seq - 3


@pytest.mark.parametrize("somebody_is_in_the_room", [True, False])
async def test_seam_is_exact_on_join(
    channel: Channel, stub: ChatServiceStub, somebody_is_in_the_room: bool
) -> None:
    """In an empty room several joins look up the head at once."""
    async with ChatCall(stub) as member, messages_keep_coming(channel):
        if somebody_is_in_the_room:
            await member.enter(ROOM)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(join_often(stub, times=40))


async def test_seam_is_exact_on_leave_and_join(channel: Channel, stub: ChatServiceStub) -> None:
    """One stream leaves and joins, again and again."""
    async with ChatCall(stub) as call, messages_keep_coming(channel):
        position = 0
        for _ in range(100):
            call.join(ROOM, after_seq=position)
            joined = (await call.receive()).joined
            assert joined.recovered
            call.leave(ROOM, request_id="leaving")
            while (response := await call.receive()).request_id != "leaving":
                position += 1
                assert response.chat_message.seq == position
            assert position >= joined.last_seq


async def test_seam_is_exact_on_repeated_join(channel: Channel, stub: ChatServiceStub) -> None:
    """One stream joins without leaving; the replay repeats known messages."""
    async with ChatCall(stub) as call, messages_keep_coming(channel):
        await call.enter(ROOM, after_seq=0)
        position = newest = 0
        for number in range(100):
            asked = max(position, newest - 20)
            call.join(ROOM, request_id=str(number), after_seq=asked)
            while (response := await call.receive()).request_id != str(number):
                position += 1
                assert response.chat_message.seq == position
            assert response.joined.recovered
            newest = max(newest, position)
            heard = await call.hear_many(10)
            position = asked + 10
            assert seqs(heard) == list(range(asked + 1, position + 1))
