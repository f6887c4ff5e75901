"""Measures several nodes on one PostgreSQL, beside one on SQLite and beside socket.io.

Each node is a server with a proxy of its own, and the clients of a room are spread over
the nodes. All run on one machine, with the engine: more nodes show what it costs to
share a room, and not how much more several machines would carry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from bench import engines, workloads
from bench.load.job import Result
from bench.nodes import append, notify, sweep
from bench.options import Options, Plan
from bench.report import Section, Table, ratio
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


def _medians(pairs: Iterable[tuple[float, float]], name: str) -> dict[str, float]:
    p50, p99 = (round(median(times) * _MILLI, 2) for times in zip(*pairs, strict=True))
    return {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}


def _costs(result: Result, *, has_server: bool) -> tuple[float, float, float]:
    """Processor time of servers, proxies and engine for a message, in microseconds."""
    messages = max(result.messages, 1) / _MICRO
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
        rows: list[dict[str, Any]] = []
        async with Rounds(plan, runs) as rounds:
            for workload in part.workloads:
                rows += _rows(workload, await rounds.measure("drive", workload, part.targets))
        if rows:
            columns = (*_WHERE, *(_FAR if name == "across" else _NEAR), *_COSTS)
            tables.append(Table.of(part.title, columns, rows, words=2))
            data[name] = rows
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


def _rows(workload: Workload, results: Results) -> list[dict[str, Any]]:
    base = next(iter(results.values()), [])
    return [_row(workload, target, rounds, base) for target, rounds in results.items()]


def _row(
    workload: Workload, target: Target, rounds: Sequence[Result], base: Sequence[Result]
) -> dict[str, Any]:
    """Medians of all rounds; the ratio is to the first target."""
    rates = [each.rate for each in rounds]
    costs = [_costs(each, has_server=target.server is not None) for each in rounds]
    names = ("server", "proxy", "engine")
    return {
        "workload": workload.name,
        "description": str(workload),
        "target": target.name,
        "label": target.label,
        "rounds": len(rounds),
        "nodes": target.nodes,
        "deliveries_per_second": round(median(rates)),
        "deliveries_per_second_ratio": round(ratio(rates, [each.rate for each in base]), 3),
        "messages_per_second": round(median(each.messages / each.seconds for each in rounds)),
        **_medians((each.latencies for each in rounds), "latency"),
        **(_medians((each.far for each in rounds), "latency_to_others") if workload.rate else {}),
        **{
            f"{name}_us_per_message": round(median(cost), 1)
            for name, cost in zip(names, zip(*costs, strict=True), strict=True)
        },
    }


_WHERE: Final = (("workload", "{workload}"), ("", "{label}"))
_NEAR: Final = (
    ("deliveries/s", "{deliveries_per_second:,}"),
    ("x first", "{deliveries_per_second_ratio:.2f}"),
    ("messages/s", "{messages_per_second:,}"),
    ("p50, ms", "{latency_p50_ms:.2f}"),
    ("p99, ms", "{latency_p99_ms:.2f}"),
)
_FAR: Final = (
    ("p50, ms", "{latency_to_others_p50_ms:.2f}"),
    ("p99, ms", "{latency_to_others_p99_ms:.2f}"),
    ("to the sender, p50", "{latency_p50_ms:.2f}"),
    ("p99", "{latency_p99_ms:.2f}"),
)
_COSTS: Final = (
    ("server, µs", "{server_us_per_message:.0f}"),
    ("proxy, µs", "{proxy_us_per_message:.0f}"),
    ("engine, µs", "{engine_us_per_message:.0f}"),
)
