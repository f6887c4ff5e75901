"""Rounds in which targets take turns under the same load."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import uuid
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bench import meter, targets
from bench.load.job import Job, Kind, Result
from bench.options import Plan
from bench.report import progress
from bench.targets import NODE, PROJECT, ROOT, Running, Target, TargetError
from bench.workloads import Workload

# The results of one workload, by target and round.
Results = dict[Target, list[Result]]


class Rounds:
    """Measures workloads, one after the other.

    The targets of a workload run side by side, freshly started, and all but one are
    idle. They take turns, in the opposite order in every other round, so that a slow
    moment of the machine, or one that gets slower, falls on all alike.

    Args:
        plan: how often and how long.
        runs: how many runs there will be, to tell how far it is.
    """

    def __init__(self, plan: Plan, runs: int) -> None:
        self._plan = plan
        self._runs = runs
        self._done = 0
        self._start = time.monotonic()

    async def measure(self, kind: Kind, workload: Workload, chosen: Sequence[Target]) -> Results:
        """Measures one workload.

        Raises:
            TargetError: a target did not start, or did not do what it should.
        """
        results: Results = {target: [] for target in chosen}
        for first, last in _spans(kind, self._plan):
            progress(f"{workload.name}: starting {', '.join(target.label for target in chosen)}")
            async with AsyncExitStack() as stack:
                started = await _start(chosen, stack)
                for number in range(first, last):
                    await self._round(kind, workload, started, number, results)
        return results

    async def _round(
        self,
        kind: Kind,
        workload: Workload,
        started: Sequence[Running],
        number: int,
        results: Results,
    ) -> None:
        pids = [pid for each in started for pid in each.pids]
        for each in started if number % 2 == 0 else reversed(started):
            if number >= _rounds_of(kind, each.target, self._plan):
                continue
            self._tell(f"{workload.name}, round {number + 1}: {each.target.label}")
            await meter.quiet(pids)
            warm_up = self._plan.warm_up * (2 if number == 0 else 1)
            job = Job(
                kind=kind,
                workload=workload,
                host=targets.HOST,
                port=each.port,
                pids=each.pids,
                tag=uuid.uuid4().hex[:8],
                warm_up=warm_up,
                seconds=self._plan.seconds,
            )
            results[each.target].append(await _load(job, each.target))
            self._done += 1

    def _tell(self, what: str) -> None:
        so_far = time.monotonic() - self._start
        left = so_far / self._done * (self._runs - self._done) if self._done else None
        about = "" if left is None else f", about {left:.0f} s left"
        progress(f"{what} ({self._done + 1} of {self._runs}{about})")


def count_runs(kind: Kind, workloads: int, chosen: Iterable[Target], plan: Plan) -> int:
    """How many runs a number of workloads of a kind makes."""
    return workloads * sum(_rounds_of(kind, target, plan) for target in chosen)


def _rounds_of(kind: Kind, target: Target, plan: Plan) -> int:
    if kind == "idle":
        return plan.idle_rounds
    return plan.rounds if target in (PROJECT, NODE) else plan.peer_rounds


def _spans(kind: Kind, plan: Plan) -> list[tuple[int, int]]:
    """The rounds that share processes: to be weighed, each needs fresh ones."""
    if kind == "idle":
        return [(number, number + 1) for number in range(plan.idle_rounds)]
    return [(0, plan.rounds)]


async def _start(chosen: Sequence[Target], stack: AsyncExitStack) -> list[Running]:
    temporary = tempfile.TemporaryDirectory(dir=targets.data_folder())
    folder = Path(stack.enter_context(temporary))
    contexts = [targets.running(target, folder / target.name) for target in chosen]
    return await asyncio.gather(*map(stack.enter_async_context, contexts))


async def _load(job: Job, target: Target) -> Result:
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
