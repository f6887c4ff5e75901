"""Measures what changes of messages cost those who do not make them.

A busy room whose members follow its changes, with and without a thousand reactions a
second to its newest messages, in alternation. Those who react are further clients of the proxy.
"""

from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

from bench import meter, processes, workloads
from bench.load import frames
from bench.load.job import Job, Result
from bench.options import Effort, Options
from bench.processes import Running
from bench.report import Section, Table, progress, ratio
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


_COLUMNS: Final = (
    ("deliveries/s without", "{deliveries_without:,}"),
    ("with", "{deliveries_with:,}"),
    ("ratio", "{ratio}"),
    ("for each s of processor time, ratio", "{efficiency_ratio}"),
    ("reactions/s", "{reactions_a_second:,}"),
    ("server, µs", "{server_us}"),
    ("proxy, µs", "{proxy_us}"),
    ("those who react, µs", "{reactor_us}"),
    ("frames of changes/s", "{frames_a_second}"),
)


async def measure(options: Options) -> Section:
    """Measures the room in calm and in storm."""
    busy, rounds = _Busy(), _STORM_ROUNDS[options.effort]
    async with processes.running(PROJECT) as running:
        for number in range(rounds):
            progress(f"changes: storm, round {number + 1} of {rounds}")
            await busy.round(running, _STORM_SECONDS[options.effort], number)
    told = _sum_up(busy)
    title = f"{_ROOM}, following changes; {REACTORS} others react"
    return Section([Table.of(title, _COLUMNS, [told])], told)


def _sum_up(busy: _Busy) -> dict[str, float]:
    pairs = list(zip(busy.stormy, busy.calm, strict=True))
    seconds = sum(each.seconds for each in busy.storms)
    reactions = sum(each.reactions for each in busy.storms) / seconds
    server, proxy = (
        median(_beside_messages(*pair, process) for pair in pairs) / reactions * 1e6
        for process in range(2)
    )
    calm, stormy = ([each.rate for each in results] for results in (busy.calm, busy.stormy))
    calm_efficiency, stormy_efficiency = (
        [each.efficiency for each in results] for results in (busy.calm, busy.stormy)
    )
    return {
        "deliveries_without": round(median(calm)),
        "deliveries_with": round(median(stormy)),
        "ratio": round(ratio(stormy, calm), 3),
        "efficiency_ratio": round(ratio(stormy_efficiency, calm_efficiency), 3),
        "reactions_a_second": round(reactions),
        "server_us": round(server),
        "proxy_us": round(proxy),
        "reactor_us": round(sum(each.cpu for each in busy.storms) / seconds / reactions * 1e6),
        "frames_a_second": round(sum(each.told for each in busy.storms) / seconds, 1),
    }


def _beside_messages(stormy: Result, calm: Result, process: int) -> float:
    """The processor time of a process for reactions, in seconds of each second.

    It is what is left once each message was charged what it takes without them.
    """
    messages = calm.cpu[process] / calm.done * stormy.done
    return (stormy.cpu[process] - messages) / stormy.seconds
