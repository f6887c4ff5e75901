"""Runs rounds in which targets alternate under the same load."""

import asyncio
import sys
import time
import uuid
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Self

from bench import meter, processes
from bench.load.job import Job, Kind, Result
from bench.options import Plan
from bench.processes import Running, TargetError
from bench.report import progress
from bench.targets import HOST, NODE, PROJECT, ROOT, Target
from bench.workloads import Workload

# The results of one workload, by target and round.
Results = dict[Target, list[Result]]


class Rounds:
    """Measures workloads, one after the other.

    The targets of a workload run side by side, and all but one are idle. They
    alternate, in the opposite order in every other round, so that a slow moment of the
    machine, or a gradual slowdown, affects all alike.

    As a context manager, it stops the running targets on exit.

    Args:
        plan: the rounds and times.
        runs: the total number of runs, for the progress line.
    """

    def __init__(self, plan: Plan, runs: int) -> None:
        self._plan = plan
        self._runs = runs
        self._done = 0
        self._start = time.monotonic()
        self._stack = AsyncExitStack()
        self._running: dict[Target, Running] = {}
        self._warm: set[Running] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def measure(self, kind: Kind, workload: Workload, chosen: Sequence[Target]) -> Results:
        """Measures one workload.

        Raises:
            TargetError: a target did not start, or failed.
        """
        results: Results = {target: [] for target in chosen}
        for number in range(_rounds(kind, self._plan)):
            if kind == "idle" or (number == 0 and not self._plan.keep):
                await self._stop()
            await self._start_missing(workload, chosen)
            await self._round(kind, workload, number, results)
        return results

    async def _start_missing(self, workload: Workload, chosen: Sequence[Target]) -> None:
        missing = [target for target in chosen if target not in self._running]
        if not missing:
            return
        progress(f"{workload.name}: starting {', '.join(target.label for target in missing)}")
        contexts = map(processes.running, missing)
        started = await asyncio.gather(*map(self._stack.enter_async_context, contexts))
        self._running.update({each.target: each for each in started})

    async def _stop(self) -> None:
        self._running.clear()
        await self._stack.aclose()

    async def _round(self, kind: Kind, workload: Workload, number: int, results: Results) -> None:
        pids = [pid for each in self._running.values() for pid in each.pids]
        taking_part = [
            target for target in results if number < _rounds_of(kind, target, self._plan)
        ]
        for target in taking_part if number % 2 == 0 else reversed(taking_part):
            self._tell(f"{workload.name}, round {number + 1}: {target.label}")
            await meter.quiet(pids)
            job = self._job(kind, workload, self._running[target])
            results[target].append(await drive(job, target))
            self._done += 1

    def _job(self, kind: Kind, workload: Workload, running: Running) -> Job:
        # In the first run nothing is compiled or cached yet.
        cold = running not in self._warm
        self._warm.add(running)
        warm_up = self._plan.cold_warm_up if cold else self._plan.warm_up
        return make_job(kind, workload, running, warm_up, self._plan.seconds)

    def _tell(self, what: str) -> None:
        so_far = time.monotonic() - self._start
        left = so_far / self._done * (self._runs - self._done) if self._done else None
        about = "" if left is None else f", about {left:.0f} s left"
        progress(f"{what} ({self._done + 1} of {self._runs}{about})")


def count_runs(kind: Kind, workloads: int, chosen: Iterable[Target], plan: Plan) -> int:
    """The number of runs for a number of workloads of a kind."""
    return workloads * sum(_rounds_of(kind, target, plan) for target in chosen)


def _rounds_of(kind: Kind, target: Target, plan: Plan) -> int:
    if target in (PROJECT, NODE) or kind == "idle":
        return _rounds(kind, plan)
    return plan.peer_rounds


def _rounds(kind: Kind, plan: Plan) -> int:
    return plan.idle_rounds if kind == "idle" else plan.rounds


def make_job(
    kind: Kind, workload: Workload, running: Running, warm_up: float, seconds: float
) -> Job:
    """Creates a job for a running target, with its own rooms."""
    return Job(
        kind=kind,
        workload=workload,
        host=HOST,
        ports=running.ports,
        pids=running.pids,
        engine=running.engine,
        tag=uuid.uuid4().hex[:8],
        warm_up=warm_up,
        seconds=seconds,
        token=running.safety.token,
        authority=running.safety.authority,
        dialect=running.target.dialect,
    )


async def drive(job: Job, target: Target) -> Result:
    """Runs a job in its own load process.

    Raises:
        TargetError: the target failed.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.load"), cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        output, errors = await process.communicate(job.to_json().encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise TargetError(f"{target.label}: {errors.decode(errors='replace').strip()}")
    return Result.from_json(output.decode())
