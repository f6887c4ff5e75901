"""The first seconds of a target: how soon after its start it is as fast as it gets."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from bench import targets, workloads
from bench.compare import present
from bench.options import Effort, Options
from bench.report import Section, Table, progress
from bench.rounds import drive, make_job
from bench.targets import NODE, PROJECT, Target
from bench.workloads import Workload

_SECONDS: Final = 5
_ROUNDS: Final = {Effort.QUICK: 1, Effort.NORMAL: 3, Effort.FULL: 5}


async def measure(workload: Workload, target: Target) -> list[float]:
    """Starts a target and measures its deliveries a second, second by second."""
    with tempfile.TemporaryDirectory(dir=targets.data_folder()) as folder:
        async with targets.running(target, Path(folder)) as running:
            rates = []
            for _ in range(_SECONDS):
                job = make_job("drive", workload, running, warm_up=0.0, seconds=1.0)
                rates.append((await drive(job, target)).rate)
            return rates


def main(options: Options) -> Section:
    """Measures in turns and sums up: the median of each second."""
    chosen, notes = present(options)
    table = Table(
        "Deliveries a second in each of the first seconds after a start",
        ["", "", *(f"second {number + 1}" for number in range(_SECONDS))],
        words=2,
    )
    rows = []
    for workload in (workloads.ECHO_1, workloads.ECHO_16, workloads.ROOMS):
        found: dict[Target, list[list[float]]] = {
            target: [] for target in (PROJECT, NODE) if target in chosen
        }
        for number in range(_ROUNDS[options.effort]):
            for target, rounds in found.items():
                progress(f"{workload.name}, round {number + 1}: starting {target.label}")
                rounds.append(asyncio.run(measure(workload, target)))
        for target, rounds in found.items():
            rates = [round(median(second)) for second in zip(*rounds, strict=True)]
            table.add(workload.name, target.label, *(f"{rate:,}" for rate in rates))
            rows.append({"workload": workload.name, "target": target.name, "rates": rates})
    return Section(table, {"rows": rows}, notes)
