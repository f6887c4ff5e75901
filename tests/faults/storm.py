"""A crowd of clients at work while something breaks, and the inspection after it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

import aiohttp

from tests.faults.clients import Participant
from tests.faults.history import History, Message, Outcome, Send
from tests.faults.journal import Journal
from tests.faults.world import Daemon, World, branch
from tests.proxy.web_client import Client, message

ROOMS: Final = ("attic", "kitchen", "lobby")
TIMES: Final = 5
_PAGE: Final = 500
_CHUNK: Final = 100
_AGAIN_SECONDS: Final = 0.1


class Crowd:
    """The clients of one test: some talk, some roam, one listens.

    Args:
        urls: where they connect; if there are several, each begins at another one.
        journal: where they write down what they see.
        chance: who is where.
        rooms: where they may be; at least three.
        pause_seconds: how long those who talk wait after each message.

    Attributes:
        rooms: likewise.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        journal: Journal,
        chance: Random,
        *,
        rooms: Sequence[str] = ROOMS,
        pause_seconds: float = 0.0,
    ) -> None:
        self.rooms = rooms
        self.pause_seconds = pause_seconds
        self._urls = deque((urls,) if isinstance(urls, str) else urls)
        self._journal = journal
        self.talkers = [
            self._one(name, chance.sample(rooms, chance.randint(2, 3)))
            for name in ("ada", "bob", "eve", "joe")
        ]
        self.roamers = [self._one(name, rooms) for name in ("kim", "lee")]
        self.listener = self._one("max", rooms)

    def _one(self, name: str, rooms: Sequence[str]) -> Participant:
        self._urls.rotate()
        return Participant(name, tuple(self._urls), rooms, self._journal)

    @property
    def settled(self) -> list[Participant]:
        """Those who join each room once and stay."""
        return [*self.talkers, self.listener]

    @property
    def everyone(self) -> list[Participant]:
        """All of them."""
        return [*self.settled, *self.roamers]


Fault = Callable[[], Awaitable[None]]


def killing(victim: Daemon, chance: Random) -> Fault:
    """A daemon is killed, and started again."""

    async def kill() -> None:
        await victim.kill()
        await victim.start()
        if chance.random() < 0.3:
            # While all the others are still on their way back.
            await victim.kill()
            await victim.start()

    return kill


async def storm(
    world: World,
    faults: Iterable[Fault],
    crowd: Crowd,
    journal: Journal,
    chance: Random,
) -> None:
    """Lets one fault after the other happen while the crowd works; waits until all is settled.

    Afterwards the journal's history is complete.
    """
    async with working(world.url, crowd, journal, chance):
        for fault in faults:
            await journal.confirmed_more(chance.randrange(20, 300))
            await fault()
        await journal.confirmed_more(100)


@asynccontextmanager
async def working(
    url: str, crowd: Crowd, journal: Journal, chance: Random
) -> AsyncIterator[asyncio.Event]:
    """Lets the crowd work while the context is open; then waits until all is settled.

    Afterwards the journal's history is complete.

    Args:
        url: where the history is read at the end.
        crowd: who works.
        journal: where they write down what they see.
        chance: what they do.

    Yields:
        What is set when they are to come to an end.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for each in crowd.everyone:
            group.create_task(each.run())
        await journal.until(lambda: all(each.follows for each in crowd.everyone))
        work = [
            group.create_task(each.talk(branch(chance), stop, most, crowd.pause_seconds))
            for each, most in zip(crowd.talkers, (1, 2, 8, 20), strict=True)
        ]
        work += [group.create_task(each.roam(branch(chance), stop)) for each in crowd.roamers]
        yield stop
        stop.set()
        journal.ring()
        await asyncio.gather(*work)
        journal.history.stored = [journal.kept(each) for each in await stored(url, crowd.rooms)]
        for each in crowd.everyone:
            await each.reached(heads(journal.history.stored))
            each.finish()


def heads(messages: list[Message]) -> dict[str, int]:
    """The last position of each room."""
    return {message.room: message.seq for message in messages}


async def stored(url: str, rooms: Iterable[str] = ROOMS) -> list[Message]:
    """Reads the whole history of each room."""
    async with visitor(url) as client:
        return [message for room in rooms for message in await _room(client, room)]


async def send_all_again(url: str, messages: list[Message]) -> list[Send]:
    """Sends all messages once more, with another text; returns how that ended.

    Raises:
        AssertionError: an answer is not the message that was stored first.
    """
    async with visitor(url) as client:
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
async def visitor(url: str) -> AsyncIterator[Client]:
    """A client that is in no room."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Client(socket)


async def _room(client: Client, room: str) -> list[Message]:
    messages: list[Message] = []
    more = True
    while more:
        after = messages[-1].seq if messages else 0
        page = {"room_id": room, "limit": _PAGE, "after_seq": after}
        answer = await client.ask(get_chat_history=page)
        if answer.get("error", {}).get("retryable"):
            # A link that was just mended may still have to be found out about.
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        history = answer["chat_history"]
        messages += map(_message, history["messages"])
        more = history["has_more"]
    return messages


def _message(frame: dict[str, Any]) -> Message:
    return Message(
        frame["room_id"], frame["seq"], frame["sender_id"], frame["id"], frame["content"]
    )


async def outlive(
    world: World,
    faults: Iterable[Fault],
    crowd: Crowd,
    journal: Journal,
    chance: Random,
) -> History:
    """Goes through a storm, sends everything again, and stops the world in order.

    What is sent again must add nothing.
    """
    await storm(world, faults, crowd, journal, chance)
    history = journal.history
    history.sends += await send_all_again(world.url, history.stored)
    assert await stored(world.url) == history.stored
    await world.stop()
    return history
