"""Compares the project with its peers under the same load."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from bench import workloads
from bench.load.job import BOUND_SHARE, Kind, Result
from bench.options import Options
from bench.report import Section, Table
from bench.rounds import Results, Rounds, count_runs
from bench.targets import ALL, BROADCAST, GRPCIO, NODE, TARGETS, Target
from bench.workloads import BUSY_ROOM, IDLE, Workload

Row = dict[str, Any]
"""One workload on one target, as it is saved: medians of all rounds.

A ratio is the median over the rounds of the ratio to Node, or to the first target where there is
no Node.
"""


def present(options: Options) -> tuple[list[Target], list[str]]:
    """Returns the requested targets that are installed, and notes about missing ones."""
    asked = [
        each
        for each in ALL
        if (each.name in options.targets if options.targets else each in TARGETS)
    ]
    missing = [
        f"Left out: {target.label}; it needs {reason}."
        for target in asked
        if (reason := target.needs()) is not None
    ]
    return [target for target in asked if target.needs() is None], missing


async def measure(options: Options) -> Section:
    """Measures the requested workloads and targets.

    Raises:
        bench.targets.TargetError: a target failed.
    """
    chosen, notes = present(options)
    asked = [
        each
        for each in workloads.ALL
        if (each.name in options.workloads if options.workloads else each in workloads.COMPARED)
    ]
    runs = sum(
        count_runs(_kind(each), 1, _targets(each, chosen, options), options.plan) for each in asked
    )
    rows: list[Row] = []
    async with Rounds(options.plan, runs) as rounds:
        for workload in asked:
            taking_part = _targets(workload, chosen, options)
            found = await rounds.measure(_kind(workload), workload, taking_part)
            rows += make_rows(workload, found)
    notes += load_notes(rows)
    ratio = f"x {base_of(chosen)}"
    columns = (
        ("workload", "{workload}"),
        *figures("deliveries", ratio),
        ("KiB/client", "{kib_per_client:.1f}"),
        (ratio, "{kib_per_client_ratio:.2f}"),
        ("load, % of a core", "{load_share_of_a_core:.0%}"),
    )
    table = Table.of("The project beside its peers", columns, rows, words=2)
    data = {
        "base": base_of(chosen),
        "rounds": options.plan.rounds,
        "window_seconds": options.plan.seconds,
        "rows": rows,
    }
    return Section([table], data, notes)


def figures(what: str, ratio: str) -> tuple[tuple[str, str], ...]:
    """The columns of a target, of what it did in a second, and of its latencies and efficiency."""
    return (
        ("", "{label}"),
        (f"{what}/s", f"{{{what}_per_second:,}}"),
        (ratio, f"{{{what}_per_second_ratio:.2f}}"),
        ("p50, ms", "{latency_p50_ms:.2f}"),
        ("p99, ms", "{latency_p99_ms:.2f}"),
        ("per CPU-second", f"{{{what}_per_cpu_second:,}}"),
        (ratio, f"{{{what}_per_cpu_second_ratio:.2f}}"),
    )


def base_of(targets: Iterable[Target]) -> str:
    """The label of the target that is the base of the ratios."""
    labels = [target.label for target in targets]
    return NODE.label if NODE.label in labels else next(iter(labels), "")


def make_rows(workload: Workload, results: Results) -> list[Row]:
    """Summarizes the rounds of one workload."""
    base = results.get(NODE) or next(iter(results.values()), [])
    return [_row(workload, target, rounds, base) for target, rounds in results.items()]


def _row(
    workload: Workload, target: Target, rounds: Sequence[Result], base: Sequence[Result]
) -> Row:
    def mid(figure: Callable[[Result], float]) -> float:
        return median(map(figure, rounds))

    def ratio(figure: Callable[[Result], float]) -> float | None:
        # Some targets have fewer rounds.
        pairs = zip(map(figure, rounds), map(figure, base), strict=False)
        ratios = [value / other for value, other in pairs if other]
        return round(median(ratios), 3) if ratios else None

    row = {
        "workload": workload.name,
        "description": str(workload),
        "target": target.name,
        "label": target.label,
        "rounds": len(rounds),
    }
    if workload is IDLE:
        row |= {
            "kib_per_client": round(mid(lambda each: each.client_bytes) / 1024, 2),
            "kib_per_client_ratio": ratio(lambda each: each.client_bytes),
        }
    else:
        row |= {
            "deliveries_per_second": round(mid(lambda each: each.rate)),
            "deliveries_per_second_ratio": ratio(lambda each: each.rate),
            "latency_p50_ms": round(mid(lambda each: each.latencies[0]) * 1e3, 3),
            "latency_p99_ms": round(mid(lambda each: each.latencies[1]) * 1e3, 3),
            "deliveries_per_cpu_second": round(mid(lambda each: each.efficiency)),
            "deliveries_per_cpu_second_ratio": ratio(lambda each: each.efficiency),
            "load_share_of_a_core": round(mid(lambda each: each.load_share), 3),
            "load_lag_p99_ms": round(mid(lambda each: each.load_lag) * 1e3, 2),
        }
    return {name: figure for name, figure in row.items() if figure is not None}


def load_notes(rows: Sequence[Row]) -> list[str]:
    """Notes the results that the load client limited, or may have limited."""
    bound = [
        f"{row['workload']} on {row['label']}"
        for row in rows
        if row.get("load_share_of_a_core", 0) >= BOUND_SHARE
    ]
    if not bound:
        return []
    share = f"{BOUND_SHARE:.0%} of a core or more"
    return [f"The load client took {share}, so that more may be possible: {', '.join(bound)}."]


def _kind(workload: Workload) -> Kind:
    return "idle" if workload is IDLE else "drive"


def _targets(workload: Workload, chosen: Sequence[Target], options: Options) -> list[Target]:
    """All targets; fewer for a quick run."""
    left_out = {BROADCAST} if workload is IDLE else set()
    if options.quick and workload.rooms > 1:
        left_out.add(BROADCAST)
    if options.quick and workload is BUSY_ROOM:
        left_out.add(GRPCIO)  # it needs ten seconds to answer all messages in flight
    return [target for target in chosen if target not in left_out]
