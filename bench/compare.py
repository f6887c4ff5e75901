"""Compares the project with its peers under the same load."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench import workloads
from bench.load.job import BOUND_SHARE, Kind, Result
from bench.options import Options, Plan
from bench.report import Section, Table
from bench.rounds import Results, Rounds, count_runs
from bench.targets import ALL, BROADCAST, GRPCIO, NODE, TARGETS, Target
from bench.workloads import BUSY_ROOM, IDLE, Workload


@dataclass(frozen=True, slots=True)
class Row:
    """One workload on one target: medians of all rounds.

    A ratio is the median over the rounds of the ratio to Node, or to the first target
    where there is no Node.
    """

    workload: Workload
    target: Target
    rounds: Sequence[Result]
    rate_ratio: float | None
    efficiency_ratio: float | None
    memory_ratio: float | None

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return median(each.rate for each in self.rounds)

    @property
    def p50(self) -> float:
        """The median latency, in seconds."""
        return median(each.latencies[0] for each in self.rounds)

    @property
    def p99(self) -> float:
        """The 99th percentile of the latency, in seconds."""
        return median(each.latencies[1] for each in self.rounds)

    @property
    def efficiency(self) -> float:
        """Deliveries per second of processor time of the target's processes."""
        return median(each.efficiency for each in self.rounds)

    @property
    def client_kib(self) -> float:
        """Memory of the target's processes per client, in KiB."""
        return median(each.client_bytes for each in self.rounds) / 1024

    @property
    def load_share(self) -> float:
        """The share of one core that the load client used."""
        return median(each.load_share for each in self.rounds)


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
    base = base_of(chosen)
    return Section([_table(rows, base)], _data(rows, base, options.plan), notes)


def base_of(targets: Iterable[Target]) -> str:
    """The label of the target that is the base of the ratios."""
    labels = [target.label for target in targets]
    return NODE.label if NODE.label in labels else next(iter(labels), "")


def make_rows(workload: Workload, results: Results) -> list[Row]:
    """Summarizes the rounds of one workload."""
    base = results.get(NODE) or next(iter(results.values()), [])
    return [
        Row(
            workload,
            target,
            rounds,
            *(
                _ratio([getattr(each, name) for each in rounds], [getattr(b, name) for b in base])
                for name in ("rate", "efficiency", "client_bytes")
            ),
        )
        for target, rounds in results.items()
    ]


def load_notes(rows: Sequence[Row]) -> list[str]:
    """Notes the results that the load client limited, or may have limited."""
    bound = [
        f"{row.workload.name} on {row.target.label}"
        for row in rows
        if row.workload is not IDLE and row.load_share >= BOUND_SHARE
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


def _ratio(values: Sequence[float], bases: Sequence[float]) -> float | None:
    ratios = [value / base for value, base in zip(values, bases, strict=False) if base]
    return median(ratios) if ratios else None


def _table(rows: Sequence[Row], base: str) -> Table:
    ratio = f"x {base}"
    columns = (
        *("workload", "", "deliveries/s", ratio, "p50, ms", "p99, ms"),
        *("per CPU-second", ratio, "KiB/client", ratio, "load, % of a core"),
    )
    table = Table("The project beside its peers", columns, words=2)
    for row in rows:
        cells: tuple[str, ...]
        if row.workload is IDLE:
            cells = *("",) * 6, f"{row.client_kib:.1f}", _times(row.memory_ratio), ""
        else:
            cells = *figures(row), "", "", f"{row.load_share:.0%}"
        table.add(row.workload.name, row.target.label, *cells)
    return table


def figures(row: Row) -> tuple[str, ...]:
    """The rate, its ratio, both latencies, the efficiency and its ratio, for a table."""
    return (
        f"{row.rate:,.0f}",
        _times(row.rate_ratio),
        f"{row.p50 * 1e3:.2f}",
        f"{row.p99 * 1e3:.2f}",
        f"{row.efficiency:,.0f}",
        _times(row.efficiency_ratio),
    )


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _data(rows: Sequence[Row], base: str, plan: Plan) -> dict[str, object]:
    return {
        "base": base,
        "rounds": plan.rounds,
        "window_seconds": plan.seconds,
        "rows": [row_data(row) for row in rows],
    }


def row_data(row: Row) -> dict[str, object]:
    """A row for the results file."""
    common = {
        "workload": row.workload.name,
        "description": str(row.workload),
        "target": row.target.name,
        "label": row.target.label,
        "rounds": len(row.rounds),
    }
    if row.workload is IDLE:
        return common | {
            "kib_per_client": round(row.client_kib, 2),
            "kib_per_client_ratio": _rounded(row.memory_ratio),
        }
    return common | {
        "deliveries_per_second": round(row.rate),
        "deliveries_per_second_ratio": _rounded(row.rate_ratio),
        "latency_p50_ms": round(row.p50 * 1e3, 3),
        "latency_p99_ms": round(row.p99 * 1e3, 3),
        "deliveries_per_cpu_second": round(row.efficiency),
        "deliveries_per_cpu_second_ratio": _rounded(row.efficiency_ratio),
        "load_share_of_a_core": round(row.load_share, 3),
        "load_lag_p99_ms": round(median(each.load_lag for each in row.rounds) * 1e3, 2),
    }


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 3)
