"""Measures several nodes on one PostgreSQL, beside one on SQLite and beside socket.io.

Each node is a server with a proxy of its own, and the clients of a room are spread over
the nodes. All run on one machine, with the engine: more nodes show what it costs to
share a room, and not how much more several machines would carry.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from bench import engines, workloads
from bench.load.job import Result
from bench.nodes import append, notify, sweep
from bench.options import Options, Plan
from bench.report import Section, Table
from bench.rounds import Results, Rounds, count_runs
from bench.targets import (
    POSTGRESQL,
    POSTGRESQL_2,
    POSTGRESQL_2_VALKEY,
    POSTGRESQL_4,
    PROJECT,
    SOCKET_IO_PUBSUB,
    SOCKET_IO_STREAMS,
    Target,
)
from bench.workloads import Workload

_MICRO: Final = 1e6
_MILLI: Final = 1e3


@dataclass(frozen=True, slots=True)
class _Part:
    """One table: workloads on targets, the first of which is the base of ratios."""

    title: str
    workloads: Sequence[Workload]
    targets: Sequence[Target]


_ONE: Final = _Part(
    "One node: PostgreSQL beside SQLite",
    workloads.DRIVEN,
    (PROJECT, POSTGRESQL),
)
_SEVERAL: Final = _Part(
    "Several nodes in the same rooms",
    (workloads.ONE_ROOM, workloads.BUSY_ROOM, workloads.ROOMS),
    (POSTGRESQL, POSTGRESQL_2, POSTGRESQL_4, SOCKET_IO_PUBSUB, SOCKET_IO_STREAMS),
)
_ACROSS: Final = _Part(
    "From one client to another, at the next node if there are several",
    (workloads.STEADY,),
    (
        *(PROJECT, POSTGRESQL, POSTGRESQL_2, POSTGRESQL_2_VALKEY),
        *(SOCKET_IO_PUBSUB, SOCKET_IO_STREAMS),
    ),
)


_ALONE: Final = {"append": append.measure, "sweep": sweep.measure, "notify": notify.measure}

# Left out of a quick run.
_LEFT_OUT: Final = (POSTGRESQL_4, SOCKET_IO_STREAMS)


@dataclass(frozen=True, slots=True)
class _Row:
    """One workload on one target: medians of all rounds.

    The ratio is the median over the rounds of the ratio to the first target.
    """

    workload: Workload
    target: Target
    rounds: Sequence[Result]
    ratio: float

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return median(each.rate for each in self.rounds)

    @property
    def messages(self) -> float:
        """Messages a second."""
        return median(each.messages / each.seconds for each in self.rounds)

    @property
    def near(self) -> tuple[float, float]:
        """The median and the 99th percentile back to the sender, in seconds."""
        return _medians([each.latencies for each in self.rounds])

    @property
    def far(self) -> tuple[float, float]:
        """The same to others."""
        return _medians([each.far for each in self.rounds])

    @property
    def cost(self) -> tuple[float, float, float]:
        """Processor time of servers, proxies and engine for a message, in seconds."""
        costs = [_cost(each, has_server=self.target.server is not None) for each in self.rounds]
        servers, proxies, engines = zip(*costs, strict=True)
        return median(servers), median(proxies), median(engines)


def _medians(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return median(p50 for p50, _ in pairs), median(p99 for _, p99 in pairs)


def _cost(result: Result, *, has_server: bool) -> tuple[float, float, float]:
    messages = max(result.messages, 1)
    # Each node has a server and a proxy, in this order; or a proxy alone.
    servers = sum(result.cpu[::2]) if has_server else 0.0
    return (
        servers / messages,
        (sum(result.cpu) - servers) / messages,
        result.engine_cpu / messages,
    )


async def measure(options: Options) -> Section:
    """Measures all parts.

    Raises:
        bench.processes.TargetError: a target failed.
    """
    parts, notes = _parts(options)
    tables: list[Table] = []
    data: dict[str, object] = {"window_seconds": options.plan.seconds}
    for name, part in zip(("one", "several", "across"), parts, strict=True):
        plan = _plan(options, part)
        runs = count_runs("drive", len(part.workloads), part.targets, plan)
        rows: list[_Row] = []
        async with Rounds(plan, runs) as rounds:
            for workload in part.workloads:
                rows += _rows(workload, await rounds.measure("drive", workload, part.targets))
        if rows:
            tables.append(_table(part, rows, across=name == "across"))
            data[name] = [_data(row) for row in rows]
    if engines.missing_postgresql() is None and not options.targets:
        for name, alone in _ALONE.items():
            table, data[name] = await alone(options)
            tables.append(table)
    return Section(tables, data, notes)


def _plan(options: Options, part: _Part) -> Plan:
    """As many rounds of each target; more where a ratio decides."""
    number = options.plan.rounds if part.title == _ONE.title else options.plan.peer_rounds
    number = 1 if options.quick else number
    return replace(options.plan, rounds=number, peer_rounds=number)


def _parts(options: Options) -> tuple[list[_Part], list[str]]:
    """The parts with the requested workloads and targets that are installed; and notes."""
    missing = {
        target: reason
        for part in (_ONE, _SEVERAL, _ACROSS)
        for target in part.targets
        if (reason := target.needs()) is not None
    }
    parts = [
        replace(
            part,
            workloads=[
                each
                for each in part.workloads
                if not options.workloads or each.name in options.workloads
            ],
            targets=[
                each
                for each in part.targets
                if each not in missing
                and not (options.quick and each in _LEFT_OUT)
                and (not options.targets or each.name in options.targets)
            ],
        )
        for part in (_ONE, _SEVERAL, _ACROSS)
    ]
    notes = [f"Left out: {target.label}; it needs {need}." for target, need in missing.items()]
    return parts, notes


def _rows(workload: Workload, results: Results) -> list[_Row]:
    base = next(iter(results.values()), [])
    return [
        _Row(
            workload,
            target,
            rounds,
            median(each.rate / b.rate for each, b in zip(rounds, base, strict=True)),
        )
        for target, rounds in results.items()
    ]


_COSTS: Final = ("server, µs", "proxy, µs", "engine, µs")


def _table(part: _Part, rows: Sequence[_Row], *, across: bool) -> Table:
    columns = ["deliveries/s", "x first", "messages/s", "p50, ms", "p99, ms"]
    if across:
        columns = ["p50, ms", "p99, ms", "to the sender, p50", "p99"]
    table = Table(part.title, ["workload", "", *columns, *_COSTS], words=2)
    for row in rows:
        near = [f"{each * _MILLI:.2f}" for each in row.near]
        costs = [f"{each * _MICRO:.0f}" for each in row.cost]
        if across:
            figures = [*(f"{each * _MILLI:.2f}" for each in row.far), *near]
        else:
            figures = [f"{row.rate:,.0f}", f"{row.ratio:.2f}", f"{row.messages:,.0f}", *near]
        table.add(row.workload.name, row.target.label, *figures, *costs)
    return table


def _data(row: _Row) -> dict[str, Any]:
    data = {
        "workload": row.workload.name,
        "description": str(row.workload),
        "target": row.target.name,
        "rounds": len(row.rounds),
        "nodes": row.target.nodes,
        "deliveries_per_second": round(row.rate),
        "deliveries_per_second_ratio": round(row.ratio, 3),
        "messages_per_second": round(row.messages),
    }
    pairs = {"latency": row.near, **({"latency_to_others": row.far} if row.workload.rate else {})}
    for name, (p50, p99) in pairs.items():
        data |= {f"{name}_p50_ms": round(p50 * _MILLI, 2), f"{name}_p99_ms": round(p99 * _MILLI, 2)}
    costs = zip(("server", "proxy", "engine"), row.cost, strict=True)
    return data | {f"{name}_us_per_message": round(cost * _MICRO, 1) for name, cost in costs}
