"""What does not fit the comparison: connections a second, and more and more rooms."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bench import workloads
from bench.compare import Row, load_notes, make_rows, present, row_data, times
from bench.options import Options
from bench.report import Section, Table
from bench.rounds import Rounds, count_runs
from bench.targets import BROADCAST, GRPCIO, PROJECT, Target


async def measure_connects(options: Options) -> Section:
    """Measures how many clients a second can connect, join a room and leave again."""
    chosen, notes = present(options)
    chosen = [target for target in chosen if target is not BROADCAST]
    workload = replace(workloads.ECHO_1, name="connects", senders=0, in_flight=0)
    runs = count_runs("connect", 1, chosen, options.side_plan)
    async with Rounds(options.side_plan, runs) as rounds:
        rows = make_rows(workload, await rounds.measure("connect", workload, chosen))
    table = Table(
        f"Connecting, joining a room and leaving, {workload.clients} clients at a time",
        ["", "connections/s", "x Node", "p50, ms", "p99, ms", "per CPU-second", "x Node"],
    )
    for row in rows:
        latencies = f"{row.p50 * 1e3:.2f}", f"{row.p99 * 1e3:.2f}"
        efficiency = f"{row.efficiency:,.0f}", times(row.efficiency_ratio)
        table.add(
            row.target.label, f"{row.rate:,.0f}", times(row.rate_ratio), *latencies, *efficiency
        )
    return Section(table, {"rows": [_connect_data(row) for row in rows]}, notes)


def _connect_data(row: Row) -> dict[str, object]:
    """A row's data, with connections for deliveries."""
    data = row_data(row)
    del data["description"]
    return {key.replace("deliveries", "connections"): value for key, value in data.items()}


async def measure_rooms(options: Options) -> Section:
    """Measures the throughput of a thousand clients in 1, 10, 100 and 1,000 rooms."""
    chosen, notes = present(options)
    chosen = [target for target in chosen if _takes_part(target, options)]
    runs = count_runs("drive", len(workloads.SPREAD), chosen, options.side_plan)
    rows: list[Row] = []
    async with Rounds(options.side_plan, runs) as rounds:
        for workload in workloads.SPREAD:
            rows += make_rows(workload, await rounds.measure("drive", workload, chosen))
    table = Table(
        "A thousand clients in more and more rooms",
        ["", "", "messages/s", "deliveries/s", "x Node", "p50, ms", "per CPU-second", "x Node"],
        words=2,
    )
    for row in rows:
        table.add(
            str(row.workload),
            row.target.label,
            f"{row.rate / row.workload.members:,.0f}",
            f"{row.rate:,.0f}",
            times(row.rate_ratio),
            f"{row.p50 * 1e3:.2f}",
            f"{row.efficiency:,.0f}",
            times(row.efficiency_ratio),
        )
    data = {"rows": [row_data(row) for row in rows]}
    return Section(table, data, notes + load_notes(rows))


def _takes_part(target: Target, options: Options) -> bool:
    return target is PROJECT if options.quick else target not in (GRPCIO, BROADCAST)


def connects(options: Options) -> Section:
    """Measures; see `measure_connects`."""
    return asyncio.run(measure_connects(options))


def rooms(options: Options) -> Section:
    """Measures; see `measure_rooms`."""
    return asyncio.run(measure_rooms(options))
