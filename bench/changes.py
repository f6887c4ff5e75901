"""Measures what changes of messages cost those who do not make them.

A busy room whose members follow its changes, with and without a thousand reactions a
second to its newest messages, in alternation. Those who react are further clients of the proxy.
"""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

from bench import meter, processes, workloads
from bench.load import frames
from bench.load.job import Job, Result
from bench.options import Effort, Options
from bench.processes import Running
from bench.report import Section, Table, progress
from bench.rounds import drive, make_job
from bench.storm import REACTORS, Storm, storm
from bench.targets import PROJECT

# One more member counts what it is told: a thousand follow, the most who are told so often.
_ROOM: Final = replace(workloads.BUSY_ROOM, members=workloads.BUSY_ROOM.members - 1)
_STORM_ROUNDS: Final = {Effort.QUICK: 2, Effort.NORMAL: 5, Effort.FULL: 9}
_STORM_SECONDS: Final = {Effort.QUICK: 3.0, Effort.NORMAL: 6.0, Effort.FULL: 10.0}
_WARM_UP: Final = 1.0


@dataclass(slots=True)
class _Busy:
    calm: list[Result] = field(default_factory=list)
    stormy: list[Result] = field(default_factory=list)
    storms: list[Storm] = field(default_factory=list)

    async def round(self, running: Running, seconds: float, number: int) -> None:
        """Measures with and without a storm, in the opposite order in every other round."""
        steps = self._measure_calm, self._measure_stormy
        for step in steps if number % 2 == 0 else steps[::-1]:
            job = make_job("drive", _ROOM, running, 2 * _WARM_UP, seconds)
            await meter.quiet(running.pids)
            await step(running, replace(job, follow=True))

    async def _measure_calm(self, _: Running, job: Job) -> None:
        self.calm.append(await drive(job, PROJECT))

    async def _measure_stormy(self, running: Running, job: Job) -> None:
        [room_id] = frames.room_ids(job.tag, job.workload)
        async with storm(running.port, room_id) as made:
            self.stormy.append(await drive(job, PROJECT))
        self.storms.append(made)


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
    told, row = _sum_up(busy)
    table = Table(
        f"{_ROOM}, following changes; {REACTORS} others react",
        [
            "deliveries/s without", "with", "ratio", "for each s of processor time, ratio",
            "reactions/s", "server, µs", "proxy, µs", "those who react, µs", "frames of changes/s",
        ],
    )  # fmt: skip
    table.add(*row)
    return Section([table], told)


def _sum_up(busy: _Busy) -> tuple[dict[str, float], list[str]]:
    """Returns what is saved, and the row of the table."""
    pairs = list(zip(busy.stormy, busy.calm, strict=True))
    seconds = sum(each.seconds for each in busy.storms)
    reactions = sum(each.reactions for each in busy.storms) / seconds
    server, proxy = (
        median(_beside_messages(*pair, process) for pair in pairs) / reactions * 1e6
        for process in range(2)
    )
    told = {
        "deliveries_without": round(median(result.rate for result in busy.calm)),
        "deliveries_with": round(median(result.rate for result in busy.stormy)),
        "ratio": round(median(with_.rate / without.rate for with_, without in pairs), 3),
        "efficiency_ratio": round(
            median(with_.efficiency / without.efficiency for with_, without in pairs), 3
        ),
        "reactions_a_second": round(reactions),
        "server_us": round(server),
        "proxy_us": round(proxy),
        "reactor_us": round(sum(each.cpu for each in busy.storms) / seconds / reactions * 1e6),
        "frames_a_second": round(sum(each.told for each in busy.storms) / seconds, 1),
    }
    return told, [f"{value:,}" for value in told.values()]


def _beside_messages(stormy: Result, calm: Result, process: int) -> float:
    """The processor time of a process for reactions, in seconds of each second.

    It is what is left once each message was charged what it takes without them.
    """
    messages = calm.cpu[process] / calm.done * stormy.done
    return (stormy.cpu[process] - messages) / stormy.seconds
