"""A crowd of clients at work while one of the daemons is killed, and the inspection after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

import aiohttp

from tests.faults.clients import Participant
from tests.faults.history import History, Message, Outcome, Send
from tests.faults.journal import Journal
from tests.faults.world import Daemon, World
from tests.proxy.clients import Client, message

ROOMS: Final = ("attic", "kitchen", "lobby")
KILLS: Final = 5
_PAGE: Final = 500
_CHUNK: Final = 100


class Crowd:
    """The clients of one test: some talk, some roam, one listens.

    Args:
        url: where they connect.
        journal: where they write down what they see.
        chance: who is where.
        rooms: where they may be; at least three.
    """

    def __init__(
        self, url: str, journal: Journal, chance: Random, rooms: Sequence[str] = ROOMS
    ) -> None:
        self.talkers = [
            Participant(name, url, chance.sample(rooms, chance.randint(2, 3)), journal)
            for name in ("ada", "bob", "eve", "joe")
        ]
        self.roamers = [Participant(name, url, rooms, journal) for name in ("kim", "lee")]
        self.listener = Participant("max", url, rooms, journal)

    @property
    def settled(self) -> list[Participant]:
        """Those who join each room once and stay."""
        return [*self.talkers, self.listener]

    @property
    def everyone(self) -> list[Participant]:
        """All of them."""
        return [*self.settled, *self.roamers]


async def storm(
    world: World, victim: Daemon, crowd: Crowd, journal: Journal, chance: Random
) -> None:
    """Kills a daemon again and again while the crowd works; waits until all is settled.

    Afterwards the journal's history is complete.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for each in crowd.everyone:
            group.create_task(each.run())
        await journal.until(lambda: all(each.follows for each in crowd.everyone))
        work = [
            group.create_task(each.talk(chance, stop, most))
            for each, most in zip(crowd.talkers, (1, 2, 8, 20), strict=True)
        ]
        work += [group.create_task(each.roam(chance, stop)) for each in crowd.roamers]
        for _ in range(KILLS):
            await journal.confirmed_more(chance.randrange(20, 300))
            await _kill_and_start(victim, chance)
        await journal.confirmed_more(100)
        stop.set()
        await asyncio.gather(*work)
        journal.history.stored = await stored(world.url)
        for each in crowd.everyone:
            await each.reached(heads(journal.history.stored))
            each.finish()


async def _kill_and_start(victim: Daemon, chance: Random) -> None:
    await victim.kill()
    await victim.start()
    if chance.random() < 0.3:
        # While all the others are still on their way back.
        await victim.kill()
        await victim.start()


def heads(messages: list[Message]) -> dict[str, int]:
    """The last position of each room."""
    return {message.room: message.seq for message in messages}


async def stored(url: str, rooms: Iterable[str] = ROOMS) -> list[Message]:
    """Reads the whole history of each room."""
    async with _visitor(url) as client:
        return [message for room in rooms for message in await _room(client, room)]


async def send_all_again(url: str, messages: list[Message]) -> list[Send]:
    """Sends all messages once more, with another text; returns how that ended.

    Raises:
        AssertionError: an answer is not the message that was stored first.
    """
    async with _visitor(url) as client:
        for start in range(0, len(messages), _CHUNK):
            chunk = messages[start : start + _CHUNK]
            for index, each in enumerate(chunk):
                payload = message(each.room, "again", each.sender, id=each.id)
                await client.send(chat_message=payload, request_id=str(index))
            answers = {
                answer["request_id"]: _message(answer["chat_message"])
                for answer in await client.take(len(chunk))
            }
            assert answers == {str(index): each for index, each in enumerate(chunk)}
    return [
        Send(each.room, each.sender, each.id, each.content, Outcome.CONFIRMED, each.seq)
        for each in messages
    ]


@asynccontextmanager
async def _visitor(url: str) -> AsyncIterator[Client]:
    """A client that is in no room."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Client(socket)


async def _room(client: Client, room: str) -> list[Message]:
    messages: list[Message] = []
    more = True
    while more:
        after = messages[-1].seq if messages else 0
        page = {"room_id": room, "limit": _PAGE, "after_seq": after}
        history = (await client.ask(get_chat_history=page))["chat_history"]
        messages += map(_message, history["messages"])
        more = history["has_more"]
    return messages


def _message(frame: dict[str, Any]) -> Message:
    return Message(
        frame["room_id"], frame["seq"], frame["sender_id"], frame["id"], frame["content"]
    )


async def outlive(
    world: World, victim: Daemon, crowd: Crowd, journal: Journal, chance: Random
) -> History:
    """Goes through a storm, sends everything again, and stops the world in order.

    What is sent again must add nothing.
    """
    await storm(world, victim, crowd, journal, chance)
    history = journal.history
    history.sends += await send_all_again(world.url, history.stored)
    assert await stored(world.url) == history.stored
    await world.proxy.stop()
    await world.chat.stop()
    return history
