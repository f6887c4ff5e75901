"""Measures connections per second: clients that connect, join a room and leave."""

from dataclasses import replace

from bench import workloads
from bench.compare import base_of, figures, make_rows, present
from bench.options import Options
from bench.report import Section, Table
from bench.rounds import Rounds, count_runs
from bench.targets import BROADCAST


async def measure(options: Options) -> Section:
    """Measures the number of clients per second that connect, join a room and leave."""
    chosen, notes = present(options)
    chosen = [target for target in chosen if target is not BROADCAST]
    workload = replace(workloads.ECHO_1, name="connects", senders=0, in_flight=0)
    runs = count_runs("connect", 1, chosen, options.side_plan)
    async with Rounds(options.side_plan, runs) as rounds:
        found = make_rows(workload, await rounds.measure("connect", workload, chosen))
    # With connections instead of deliveries.
    rows = [
        {
            name.replace("deliveries", "connections"): figure
            for name, figure in row.items()
            if name != "description"
        }
        for row in found
    ]
    title = f"Connecting, joining a room and leaving, {workload.clients} clients at a time"
    columns = figures("connections", f"x {base_of(chosen)}")
    return Section([Table.of(title, columns, rows)], {"rows": rows}, notes)
