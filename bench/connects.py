"""Measures connections per second: clients that connect, join a room and leave."""

from dataclasses import replace

from bench import workloads
from bench.compare import Row, base_of, figures, make_rows, present, row_data
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
        rows = make_rows(workload, await rounds.measure("connect", workload, chosen))
    ratio = f"x {base_of(chosen)}"
    table = Table(
        f"Connecting, joining a room and leaving, {workload.clients} clients at a time",
        ["", "connections/s", ratio, "p50, ms", "p99, ms", "per CPU-second", ratio],
    )
    for row in rows:
        table.add(row.target.label, *figures(row))
    return Section([table], {"rows": [_connect_data(row) for row in rows]}, notes)


def _connect_data(row: Row) -> dict[str, object]:
    """A row for the results file, with connections instead of deliveries."""
    data = row_data(row)
    del data["description"]
    return {key.replace("deliveries", "connections"): value for key, value in data.items()}
