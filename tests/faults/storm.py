"""A crowd of clients at work while something breaks, and the inspection after it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.faults.clients import Participant
from tests.faults.history import Message, Outcome, Send, check
from tests.faults.journal import Journal
from tests.faults.painters import Painter, compare, exhibition, present, summary
from tests.faults.world import World, branch, seeded
from tests.kit.processes import Daemon
from tests.proxy.web_client import Client, message, visitor
from tests.support import eventually

ROOMS: Final = ("attic", "kitchen", "lobby")
TIMES: Final = 3
_PAGE: Final = 500
_CHUNK: Final = 100
_AGAIN_SECONDS: Final = 0.1
_PAINT_SECONDS: Final = 0.05
# Longer than users are shown who have gone: 35 seconds, and what a busy machine takes.
_SHOWN_SECONDS: Final = 60.0


class Crowd:
    """The clients of one test: talkers, roamers, one listener, and painters in a room of theirs.

    Args:
        urls: addresses of the proxies; each client begins at another one.
        journal: receives what the clients do and see.
        chance: distributes the clients.
        rooms: at least three rooms.
        pause_seconds: pause of a talker after each message.

    Attributes:
        rooms: the rooms.
        departure_seconds: how long a painter that had gone was shown; see `working`.
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
        self.departure_seconds = 0.0
        self._urls = deque((urls,) if isinstance(urls, str) else urls)
        self._journal = journal
        self.talkers = [
            self._one(name, chance.sample(rooms, chance.randint(2, 3)))
            for name in ("ada", "bob", "eve", "joe")
        ]
        self.roamers = [self._one(name, rooms) for name in ("kim", "lee")]
        self.listener = self._one("max", rooms)
        self.painters = [self._painter(name) for name in ("pia", "quo")]

    def _painter(self, name: str) -> Painter:
        self._urls.rotate()
        return Painter(name, tuple(self._urls), f"studio of {self.rooms[0]}", self._journal)

    def _one(self, name: str, rooms: Sequence[str]) -> Participant:
        self._urls.rotate()
        return Participant(name, tuple(self._urls), rooms, self._journal)

    @property
    def settled(self) -> list[Participant]:
        """Clients that join each room once and stay."""
        return [*self.talkers, self.listener]

    @property
    def everyone(self) -> list[Participant]:
        return [*self.settled, *self.roamers]


Fault = Callable[[], Awaitable[None]]


class Stage:
    """A world, and a crowd that works in it while things break.

    Attributes:
        history: the crowd's record; complete after `storm` and `outlive`.
    """

    def __init__(self, world: World, crowd: Crowd, journal: Journal, chance: Random) -> None:
        self.world = world
        self.crowd = crowd
        self.journal = journal
        self.chance = chance
        self.history = journal.history

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        folder: Path,
        *proxy_options: str,
        everywhere: bool = False,
        pause_seconds: float = 0.0,
        **options: Any,
    ) -> AsyncIterator[Stage]:
        """Starts a world and a crowd.

        Args:
            folder: see `World.running`, as for the others.
            proxy_options: options of the proxies.
            everywhere: whether clients connect to all proxies instead of the first alone.
            pause_seconds: see `Crowd`.
            options: options of the world.
        """
        with seeded() as chance:
            async with World.running(folder, *proxy_options, **options) as world:
                journal = Journal()
                urls = world.urls if everywhere else world.url
                crowd = Crowd(urls, journal, chance, pause_seconds=pause_seconds)
                yield cls(world, crowd, journal, chance)

    def killing(self, victim: Daemon) -> Fault:
        """Kills a daemon; starts it again at the end."""

        async def kill() -> None:
            # By chance once more, while all the others are still on their way back.
            for _ in range(2 if self.chance.random() < 0.3 else 1):
                await victim.kill()
                await victim.start()

        return kill

    async def storm(self, faults: Iterable[Fault]) -> None:
        """Causes one fault after the other; waits until all is settled."""
        async with working(self.world.url, self.crowd, self.journal, self.chance):
            for fault in faults:
                await self.journal.confirmed_more(self.chance.randrange(20, 300))
                await fault()
            await self.journal.confirmed_more(100)

    async def outlive(self, faults: Iterable[Fault]) -> None:
        """Runs a storm, sends everything again, and stops the world in order.

        Repeated messages must add nothing.
        """
        await self.storm(faults)
        self.history.sends += await send_all_again(self.world.url, self.history.stored)
        assert await stored(self.world.url) == self.history.stored
        await self.world.stop()

    def check(self, *, cut_off: bool) -> None:
        """Checks the history; clients that stayed in a room were told of no loss.

        Args:
            cut_off: whether every client lost its connection, or none.
        """
        violations = check(self.history)
        assert not violations, violations
        assert [each.lost for each in self.crowd.settled] == [0] * len(self.crowd.settled)
        assert {each.connections > 1 for each in self.crowd.everyone} == {cut_off}

    def check_complete(self) -> None:
        """Checks that clients that stayed got each message of their rooms once."""
        last = heads(self.history.stored)
        for each in self.crowd.settled:
            for room in each.places:
                assert self.history.got(each.name, room) == list(range(1, last.get(room, 0) + 1))


@asynccontextmanager
async def working(
    url: str, crowd: Crowd, journal: Journal, chance: Random, *, departures: bool = False
) -> AsyncIterator[asyncio.Event]:
    """Lets the crowd work while the context is open; then waits until all is settled.

    Afterwards the journal's history is complete.

    Args:
        url: address to read the final history from.
        crowd: the clients.
        journal: receives what they do and see.
        chance: drives them.
        departures: whether to wait, in the end, until a painter that left is seen to have gone.

    Yields:
        An event that is set when the clients are to finish.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for each in crowd.everyone:
            group.create_task(each.run())
        painting = [group.create_task(each.run()) for each in crowd.painters]
        await journal.until(lambda: all(each.follows for each in crowd.everyone))
        work = [
            group.create_task(each.talk(branch(chance), stop, most, crowd.pause_seconds))
            for each, most in zip(crowd.talkers, (1, 2, 8, 20), strict=True)
        ]
        work += [group.create_task(each.roam(branch(chance), stop)) for each in crowd.roamers]
        work += [
            group.create_task(each.paint(branch(chance), stop, _PAINT_SECONDS))
            for each in crowd.painters
        ]
        yield stop
        stop.set()
        journal.ring()
        await asyncio.gather(*work)
        journal.history.stored = [journal.kept(each) for each in await stored(url, crowd.rooms)]
        for each in crowd.everyone:
            await each.reached(heads(journal.history.stored))
            each.finish()
        journal.history.stayed = {each.name for each in crowd.everyone}
        journal.history.strays += await _judge(url, crowd.painters, journal)
        if departures:
            journal.history.strays += await _depart(crowd, journal)
        for painter in crowd.painters:
            await painter.finish()
        await asyncio.gather(*painting)


async def _judge(url: str, painters: Sequence[Painter], journal: Journal) -> list[str]:
    """Compares the pictures of all painters with the history, once they have all of it.

    All of them are connected: so each is told of all, and so is whoever asks.
    """
    room, names = painters[0].room, {each.name for each in painters}
    async with visitor(url) as client:
        messages, last_change = await exhibition(client, room)
    for each in painters:
        await each.reached(len(messages), last_change)
    await journal.until(lambda: all(names <= each.picture.company.here for each in painters))
    # Whoever waited with it would not answer pings.
    async with visitor(url) as client:
        listed = await summary(client, room)

        async def is_asked() -> bool:
            return await present(client, room) == names

        await eventually(is_asked)
    return compare(painters, messages, last_change, listed)


async def _depart(crowd: Crowd, journal: Journal) -> list[str]:
    """Lets a painter go; finds whoever is shown too long, or seems to type still."""
    leaver, *others = crowd.painters
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await leaver.finish()
    names = {each.name for each in others}
    await journal.until(lambda: all(each.picture.company.here == names for each in others))
    crowd.departure_seconds = loop.time() - begin
    found = [
        f"{each.name} is told that {', '.join(typists)} type, who ceased long ago"
        for each in others
        if (typists := each.picture.company.typists(loop.time()))
    ]
    if crowd.departure_seconds > _SHOWN_SECONDS:
        found.append(f"{leaver.name} was shown {crowd.departure_seconds:.0f} s after it left")
    return found


def heads(messages: list[Message]) -> dict[str, int]:
    return {message.room: message.seq for message in messages}


async def stored(url: str, rooms: Iterable[str] = ROOMS) -> list[Message]:
    """Reads the whole history of each room."""
    async with visitor(url) as client:
        return [message for room in rooms for message in await _room(client, room)]


async def send_all_again(url: str, messages: list[Message]) -> list[Send]:
    """Sends all messages once more with another text; returns the outcomes.

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
                answer["request_id"]: Message.of(answer["chat_message"])
                for answer in await client.take(len(chunk))
            }
            assert answers == {str(index): each for index, each in enumerate(chunk)}
    return [
        Send(each.room, each.sender, each.id, each.content, Outcome.CONFIRMED, each.seq)
        for each in messages
    ]


async def _room(client: Client, room: str) -> list[Message]:
    messages: list[Message] = []
    more = True
    while more:
        after = messages[-1].seq if messages else 0
        page = {"room_id": room, "limit": _PAGE, "after_seq": after}
        answer = await client.ask(get_chat_history=page)
        if answer.get("error", {}).get("retryable"):
            # A link just restored may not have been noticed yet.
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        history = answer["chat_history"]
        messages += map(Message.of, history["messages"])
        more = history["has_more"]
    return messages
