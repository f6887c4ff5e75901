"""The run: chapters in some worlds, and at the end everything read once more.

In each chapter a crowd works in rooms of its own while things break; then all settle,
and their record is compared with the store. In the rough world the processes are killed
and restarted; in the gentle one they live as long as the run, and their memory and files
are measured when all clients have gone. In the shared one, two servers and two proxies share a
PostgreSQL, which fails, too.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from tests.faults.history import Message, Send, check
from tests.faults.journal import Journal
from tests.faults.shared import Shared
from tests.faults.storm import Crowd, send_all_again, stored, working
from tests.faults.world import World, branch
from tests.proxy.web_client import CutOff
from tests.soak.faults import GENTLE, ROUGH, SHARED, Fault, Scene
from tests.soak.guests import Guests
from tests.soak.tally import Sample, Tally
from tests.support import eventually

# Pause of a talker before each message, in seconds.
_PAUSE_SECONDS: Final = 0.02
_SECONDS_BETWEEN_FAULTS: Final = (1.0, 6.0)
# Number of messages of a chapter that are sent again under the same id.
_REPEATED: Final = 300
_RETRY_SECONDS: Final = 1.0
# Links may be silent several times in a row.
_PATIENCE_SECONDS: Final = 180.0
# A link that is dead is noticed soon, so that there is time for many of them.
_PROXY_OPTIONS: Final = ("--heartbeat-seconds", "6", "--upstream-heartbeat-seconds", "4")
_CHAT_OPTIONS: Final = ("--heartbeat-seconds", "6")

# In the log of a server whose database lost messages, until it knows.
_READ_WHAT_WAS_LOST: Final = "a message of the history is missing"

WORLDS: Final = {"rough": ROUGH, "gentle": GENTLE, "shared": SHARED}


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a soak.

    Attributes:
        minutes: length of the run.
        chapter_seconds: length of a chapter, before all settle.
        seed: seed of the randomness.
        folder: the folder of databases and logs.
        longest: the most seconds that a fault lasts.
        departures: whether each chapter ends with someone who leaves, which others are to see:
            that takes 15 seconds and more.
    """

    minutes: float
    chapter_seconds: float
    seed: int
    folder: Path
    longest: float = 60.0
    departures: bool = False


@dataclass(slots=True)
class _Stage:
    """One world over the whole run.

    Attributes:
        digests: digest of each room's history at the end of its chapter.
    """

    plan: Plan
    world: World
    shared: Shared | None
    faults: Sequence[Fault]
    tally: Tally
    chance: Random
    begun: float = field(default_factory=time.monotonic)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self.begun) / 60

    async def play(self, progress: Callable[[Tally, float], None]) -> None:
        """Plays chapters until the time is over, and reads everything again."""
        try:
            while self.minutes < self.plan.minutes:
                await self._chapter()
                if self.tally.steady:
                    await self._measure()
                progress(self.tally, self.minutes)
        finally:
            self.tally.minutes = self.minutes
        self.tally.violations += await self._changed()

    async def _chapter(self) -> None:
        number = self.tally.chapters + 1
        # The number of draws depends on the events of the chapter.
        chance = branch(self.chance)
        rooms = [f"{name} {number}" for name in ("attic", "kitchen", "lobby")]
        journal = Journal(_PATIENCE_SECONDS)
        crowd = Crowd(self.world.urls, journal, chance, rooms=rooms, pause_seconds=_PAUSE_SECONDS)
        guests = Guests(self.world.url, rooms, journal)
        await self._live(crowd, guests, journal, chance)
        history = journal.history
        again = chance.sample(history.stored, min(_REPEATED, len(history.stored)))
        history.sends += await self._send_again(again)
        if await stored(self.world.url, rooms) != history.stored:
            self.tally.violations.append(f"chapter {number}: what was sent again changed it")
        self.tally.add(history)
        self.tally.connections += guests.connections
        self.tally.connections += sum(each.connections for each in crowd.everyone)
        self.tally.not_recovered += guests.not_recovered
        self.tally.not_recovered += sum(each.lost for each in crowd.everyone)
        self.tally.told_typing += sum(each.picture.company.typed for each in crowd.painters)
        self.tally.slowest_departure = max(
            self.tally.slowest_departure, round(crowd.departure_seconds, 1)
        )
        # In a thread: the clients of the other world must go on answering pings.
        found = await asyncio.to_thread(check, history)
        self.tally.violations += [f"chapter {number}: {line}" for line in found]
        self.digests |= {room: digest(history.stored, room) for room in rooms}

    async def _send_again(self, messages: list[Message]) -> list[Send]:
        """Sends messages under their ids once more, on as many connections as it takes."""
        while True:
            try:
                return await send_all_again(self.world.url, messages)
            except CutOff:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _live(self, crowd: Crowd, guests: Guests, journal: Journal, chance: Random) -> None:
        async with (
            working(
                self.world.url, crowd, journal, chance, departures=self.plan.departures
            ) as stop,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(2):
                group.create_task(guests.come_and_go(branch(chance), stop))
            group.create_task(guests.sleep_in(branch(chance), stop))
            await self._break_things(crowd, journal, branch(chance))
            stop.set()
            journal.ring()

    async def _break_things(self, crowd: Crowd, journal: Journal, chance: Random) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + min(
            self.plan.chapter_seconds, max(1.0, (self.plan.minutes - self.minutes) * 60)
        )
        while loop.time() < end:
            await asyncio.sleep(chance.uniform(*_SECONDS_BETWEEN_FAULTS))
            # Each comes once before any comes again; then as it happens.
            new = [each for each in self.faults if not self.tally.faults[each.name]]
            fault = chance.choice(new or self.faults)
            scene = Scene(
                self.world, self.shared, crowd.everyone, journal, chance, self.plan.longest
            )
            await fault.strike(scene)
            self.tally.faults[fault.name] += 1

    async def _measure(self) -> None:
        """Measures the processes once they have noticed that all clients are gone."""
        processes = {
            "server": psutil.Process(self.world.chat.pid),
            "proxy": psutil.Process(self.world.proxy.pid),
        }
        try:
            # Three times as long as a client may be silent.
            await eventually(lambda: not clients_of(processes["proxy"], self.world.doors[0]))
        except TimeoutError:
            self.tally.violations.append(f"chapter {self.tally.chapters}: clients never leave")
        for name, process in processes.items():
            sample = Sample(self.minutes, process.memory_info().rss, process.num_fds())
            self.tally.sample(name, sample)

    async def _changed(self) -> list[str]:
        """Reads each room of each chapter once more."""
        return [
            f"{room}: the history is not what it was when its chapter ended"
            for room, before in self.digests.items()
            if digest(await stored(self.world.url, [room]), room) != before
        ]


def blank(worlds: Iterable[str] = WORLDS) -> list[Tally]:
    """Empty tallies of worlds."""
    return [
        Tally(name, [fault.name for fault in WORLDS[name]], steady=WORLDS[name] is GENTLE)
        for name in worlds
    ]


async def soak(
    plan: Plan, tallies: Iterable[Tally], progress: Callable[[Tally, float], None]
) -> None:
    """Runs the worlds, side by side.

    Args:
        plan: the settings.
        tallies: from `blank`; filled during the run, so that they survive its failure.
        progress: called after each chapter with the elapsed minutes.
    """
    chance = Random(plan.seed)  # noqa: S311 - no secret
    async with asyncio.TaskGroup() as group:
        for tally in tallies:
            group.create_task(_stage(plan, tally, branch(chance), progress))


async def _stage(
    plan: Plan,
    tally: Tally,
    chance: Random,
    progress: Callable[[Tally, float], None],
) -> None:
    folder = plan.folder / tally.name
    folder.mkdir()
    async with AsyncExitStack() as stack:
        shared: Shared | None = None
        options: dict[str, Any] = {"chat_options": _CHAT_OPTIONS}
        if WORLDS[tally.name] is SHARED:
            shared = await stack.enter_async_context(Shared.running(standby=True, valkey=True))
            options |= {"database": shared.url, "servers": 2, "proxies": 2, "metrics": True}
            options["chat_options"] += shared.options
        world = await stack.enter_async_context(
            World.running(folder, *_PROXY_OPTIONS, server_link=True, client_link=True, **options)
        )
        try:
            stage = _Stage(plan, world, shared, WORLDS[tally.name], tally, chance)
            await stage.play(progress)
            await world.stop()
        finally:
            tally.cut_off = sum(each.errors.count("slow consumer closed") for each in world.proxies)
            odd = [line for line in world.tracebacks.splitlines() if "Traceback" in line]
            if not all(_READ_WHAT_WAS_LOST in line for line in odd):
                tally.violations.append(f"there is a traceback in the logs in {folder}")


def clients_of(process: psutil.Process, url: str) -> int:
    """Number of connections of a process at an address that it listens on."""
    port = urlsplit(url).port
    return sum(
        each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED
        for each in process.net_connections("tcp")
    )


def digest(messages: Iterable[Message], room: str) -> str:
    """Digest of a room's history."""
    found = hashlib.sha256()
    for message in messages:
        if message.room == room:
            found.update(repr(tuple(message)).encode())
    return found.hexdigest()
