"""Measures what changes of messages cost those who do not make them.

A busy room whose members follow its changes, with and without a thousand reactions a
second to its newest messages, in alternation. Those who react are further clients of the proxy.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp
import orjson
import uvloop

from bench import meter, processes, workloads
from bench.load import frames
from bench.load.job import Job, Result
from bench.options import Effort, Options
from bench.processes import Running
from bench.report import Section, Table, progress
from bench.rounds import drive, make_job
from bench.targets import HOST, PROJECT

_STORM_ROUNDS: Final = {Effort.QUICK: 2, Effort.NORMAL: 5, Effort.FULL: 9}
_STORM_SECONDS: Final = {Effort.QUICK: 3.0, Effort.NORMAL: 6.0, Effort.FULL: 10.0}
_REACTORS: Final = 200
_REACTIONS_A_SECOND: Final = 1_000
_WARM_UP: Final = 1.0
# They react so often, several at a time: the timers are not what is measured.
_TICK_SECONDS: Final = 0.01
# They react to so many of the newest messages.
_NEWEST: Final = 10


@dataclass(slots=True)
class _Storm:
    """The reactions of one window.

    Attributes:
        messages: how many a member got.
        begun: set once there are enough messages to react to.
        reactions: how many were made.
        told: how many frames a member got that told of changes.
        seconds: how long it lasted, since it had begun.
    """

    messages: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    reactions: int = 0
    told: int = 0
    seconds: float = 0.0


@asynccontextmanager
async def _storm(running: Running, room_id: str) -> AsyncIterator[_Storm]:
    """A storm of reactions, and a member that counts what it is told of it."""
    storm = _Storm()
    url = f"http://{HOST}:{running.port}/"
    # A hundred connections are not all.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(session.ws_connect(url, max_msg_size=0))
            for _ in range(_REACTORS + 1)
        ]
        tasks = [
            asyncio.create_task(_listen(sockets.pop(), storm, room_id)),
            *(asyncio.create_task(_count_answers(socket, storm)) for socket in sockets),
            asyncio.create_task(_react(sockets, storm, room_id)),
        ]
        try:
            yield storm
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _react(
    sockets: list[aiohttp.ClientWebSocketResponse], storm: _Storm, room_id: str
) -> None:
    """Reacts and takes it back, at a steady rate, whatever is answered."""
    await storm.begun.wait()
    start = time.perf_counter()
    number = 0
    try:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            due = (time.perf_counter() - start) * _REACTIONS_A_SECOND
            while number < due:
                await sockets[number % _REACTORS].send_str(_frame(room_id, number))
                number += 1
    finally:
        storm.seconds = time.perf_counter() - start


def _frame(room_id: str, number: int) -> str:
    nth = number % _REACTORS
    turn = number // _REACTORS
    # Each reacts to one message after the other, and then takes all of it back.
    wish = "unreact" if turn // _NEWEST % 2 else "react"
    frame = {
        "room_id": room_id,
        "seq": turn % _NEWEST + 1,
        "user_id": f"reactor-{nth}",
        wish: "👍",
    }
    return orjson.dumps({"change_message": frame}).decode()


async def _count_answers(socket: aiohttp.ClientWebSocketResponse, storm: _Storm) -> None:
    async for frame in socket:
        if "changed_message" in str(frame.data)[:40]:
            storm.reactions += 1


async def _listen(socket: aiohttp.ClientWebSocketResponse, storm: _Storm, room_id: str) -> None:
    join = {"join": {"room_id": room_id, "follow": ["CHANGES"]}}
    await socket.send_str(orjson.dumps(join).decode())
    async for frame in socket:
        head = str(frame.data)[:40]
        if '"changes"' in head:
            storm.told += 1
        elif '"chat_message"' in head:
            storm.messages += 1
            if storm.messages == _NEWEST:
                storm.begun.set()


@dataclass(slots=True)
class _Busy:
    calm: list[Result] = field(default_factory=list)
    stormy: list[Result] = field(default_factory=list)
    storms: list[_Storm] = field(default_factory=list)

    async def round(self, running: Running, seconds: float, number: int) -> None:
        """Measures with and without a storm, in the opposite order in every other round."""
        steps = self._measure_calm, self._measure_stormy
        for step in steps if number % 2 == 0 else steps[::-1]:
            job = make_job("drive", workloads.BUSY_ROOM, running, 2 * _WARM_UP, seconds)
            await meter.quiet(running.pids)
            await step(running, replace(job, follow=True))

    async def _measure_calm(self, _: Running, job: Job) -> None:
        self.calm.append(await drive(job, PROJECT))

    async def _measure_stormy(self, running: Running, job: Job) -> None:
        [room_id] = frames.room_ids(job.tag, job.workload)
        async with _storm(running, room_id) as storm:
            self.stormy.append(await drive(job, PROJECT))
        self.storms.append(storm)


async def _measure_storm(effort: Effort) -> _Busy:
    busy, rounds = _Busy(), _STORM_ROUNDS[effort]
    with tempfile.TemporaryDirectory(dir=processes.data_folder()) as folder:
        async with processes.running(PROJECT, Path(folder)) as running:
            for number in range(rounds):
                progress(f"changes: storm, round {number + 1} of {rounds}")
                await busy.round(running, _STORM_SECONDS[effort], number)
    return busy


def main(options: Options) -> Section:
    """Runs it, and summarizes it."""
    busy = uvloop.run(_measure_storm(options.effort))
    ratios = [
        with_.rate / without.rate for with_, without in zip(busy.stormy, busy.calm, strict=True)
    ]
    seconds = sum(storm.seconds for storm in busy.storms)
    storm = {
        "deliveries_without": round(median(result.rate for result in busy.calm)),
        "deliveries_with": round(median(result.rate for result in busy.stormy)),
        "ratio": round(median(ratios), 2),
        "reactions_a_second": round(sum(storm.reactions for storm in busy.storms) / seconds),
        "frames_a_second": round(sum(storm.told for storm in busy.storms) / seconds, 1),
    }
    table = Table(
        f"{workloads.BUSY_ROOM}, following changes; {_REACTORS} others react",
        ["deliveries/s without", "with", "ratio", "reactions/s", "frames of changes/s"],
    )
    table.add(
        f"{storm['deliveries_without']:,}",
        f"{storm['deliveries_with']:,}",
        *map(str, list(storm.values())[2:]),
    )
    return Section([table], storm)
