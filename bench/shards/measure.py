"""Simulates shards: rooms on several database clusters, and what moves when these change.

Of the placement nothing runs but the hash functions: the figures are exact for the rooms and
seeds that they are computed for, and the same on every machine. How long a room takes to move
is measured (`moving`). The traffic of rooms follows Zipf's
law: that of the n-th busiest is 1 / n ** exponent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from bench import engines
from bench.options import Effort, Options
from bench.report import Section, Table, progress
from bench.shards import moving
from bench.shards.placement import (
    Place,
    Weights,
    jump,
    least_share,
    modulo,
    rendezvous,
    ring,
)
from bench.shards.relief import relative_loads, relieve

# The number of rooms, and of seeds: each has rooms of other names.
_EFFORT: Final = {Effort.QUICK: (10_000, 3), Effort.NORMAL: (50_000, 5), Effort.FULL: (200_000, 9)}
_EXPONENTS: Final = (0.0, 0.8, 1.0, 1.2)
_USUAL_EXPONENT: Final = 1.0
_BOUND: Final = 1.1

_BEFORE: Final[Weights] = {f"cluster-{number}": 1 for number in range(8)}
_METHODS: Final[dict[str, Callable[[Weights], Place]]] = {
    "modulo": modulo,
    "ring": ring,
    "jump": jump,
    "rendezvous": rendezvous,
}
_BY_HAND: Final = "rendezvous, hot rooms by hand"


def _without(name: str) -> Weights:
    """Removes a cluster; the last one takes its place in the order, for `jump`."""
    *others, last = _BEFORE
    return {(last if each == name else each): 1 for each in others}


_CHANGES: Final[dict[str, Weights]] = {
    "one added": {**_BEFORE, "cluster-8": 1},
    "one removed": _without("cluster-3"),
    "one doubled": {**_BEFORE, "cluster-3": 2},
}


@dataclass(frozen=True, slots=True)
class _Move:
    """What a change moved, with one seed.

    Attributes:
        rooms: the share of rooms.
        traffic: the share of traffic.
        busiest: the traffic of the busiest cluster after it, as a multiple of its share.
    """

    rooms: float
    traffic: float
    busiest: float


@dataclass(frozen=True, slots=True)
class _Skew:
    """The evenness of traffic, with one seed.

    Attributes:
        busiest: the traffic of the busiest cluster by the hash alone, as a multiple of its share.
        rooms: the number of rooms to be placed by hand.
        traffic: their share of the traffic.
        relieved: the same as `busiest`, with them.
    """

    busiest: float
    rooms: int
    traffic: float
    relieved: float


class _World:
    """The rooms of one seed, the busiest first, and where each method places them."""

    def __init__(self, seed: int, rooms: int) -> None:
        ids = [f"room-{seed}-{number}" for number in range(rooms)]
        self._rooms = rooms
        self._placed = {
            name: [list(map(method(weights), ids)) for weights in (_BEFORE, *_CHANGES.values())]
            for name, method in _METHODS.items()
        }

    def traffic(self, exponent: float) -> list[float]:
        return [rank**-exponent for rank in range(1, self._rooms + 1)]

    def changes(self, name: str, traffic: Sequence[float]) -> list[_Move]:
        """Makes each change to clusters that are placed on by one method."""
        before, *placed = self._placed[name]
        return [
            _compare(before, after, traffic, weights)
            for after, weights in zip(placed, _CHANGES.values(), strict=True)
        ]

    def changes_by_hand(self, traffic: Sequence[float]) -> list[_Move]:
        """Makes each change where the rooms that `relieve` chose are exceptions.

        They stay where they are, unless that cluster goes or becomes too busy.
        """
        by_hash, *placed = self._placed["rendezvous"]
        before, kept = _relieved(by_hash, traffic, _BEFORE)
        moves = []
        for hashed, weights in zip(placed, _CHANGES.values(), strict=True):
            stay = {room: name for room, name in kept.items() if name in weights}
            after = [stay.get(room, name) for room, name in enumerate(hashed)]
            after, _ = _relieved(after, traffic, weights)
            moves.append(_compare(before, after, traffic, weights))
        return moves

    def skew(self, exponent: float) -> _Skew:
        traffic = self.traffic(exponent)
        placed = self._placed["rendezvous"][0]
        relieved, exceptions = _relieved(placed, traffic, _BEFORE)
        return _Skew(
            _busiest(placed, traffic, _BEFORE),
            len(exceptions),
            sum(traffic[room] for room in exceptions) / sum(traffic),
            _busiest(relieved, traffic, _BEFORE),
        )


def _relieved(
    placed: Sequence[str], traffic: Sequence[float], weights: Weights
) -> tuple[list[str], dict[int, str]]:
    exceptions = relieve(placed, traffic, weights, _BOUND)
    return [exceptions.get(room, name) for room, name in enumerate(placed)], exceptions


def _busiest(placed: Sequence[str], traffic: Sequence[float], weights: Weights) -> float:
    return max(relative_loads(placed, traffic, weights).values())


def _compare(
    before: Sequence[str], after: Sequence[str], traffic: Sequence[float], weights: Weights
) -> _Move:
    moved = [room for room, name in enumerate(after) if name != before[room]]
    return _Move(
        len(moved) / len(after),
        sum(traffic[room] for room in moved) / sum(traffic),
        _busiest(after, traffic, weights),
    )


_Moves = dict[str, list[list[_Move]]]


async def measure(options: Options) -> Section:
    """Simulates; the medians are of the seeds."""
    rooms, seeds = _EFFORT[options.effort]
    moves: _Moves = {name: [] for name in (*_METHODS, _BY_HAND)}
    skews: dict[float, list[_Skew]] = {exponent: [] for exponent in _EXPONENTS}
    for seed in range(seeds):
        progress(f"shards, seed {seed + 1} of {seeds}")
        world = _World(seed, rooms)
        traffic = world.traffic(_USUAL_EXPONENT)
        for name in _METHODS:
            moves[name].append(world.changes(name, traffic))
        moves[_BY_HAND].append(world.changes_by_hand(traffic))
        for exponent in _EXPONENTS:
            skews[exponent].append(world.skew(exponent))
    section = _section(rooms, seeds, moves, skews)
    if missing := engines.missing_postgresql():
        return replace(section, notes=[*section.notes, f"No room was moved; it needs {missing}."])
    table, moved = await moving.measure(options)
    return Section([*section.tables, table], {**section.data, "moved": moved}, section.notes)


def _section(rooms: int, seeds: int, moves: _Moves, skews: dict[float, list[_Skew]]) -> Section:
    changes = _change_rows(moves)
    evenness = [_skew_row(exponent, rooms, each) for exponent, each in skews.items()]
    moving = f"Rooms that move when one of {len(_BEFORE)} clusters changes"
    skewed = f"Traffic of {len(_BEFORE)} clusters, by rendezvous"
    tables = [
        Table.of(moving, _MOVING, changes, words=2),
        Table.of(skewed, _SKEWED, evenness),
    ]
    data = {"rooms": rooms, "seeds": seeds, "changes": changes, "evenness": evenness}
    note = (
        f"{rooms:,} rooms; medians, and the most, of {seeds} seeds. The first table has Zipf "
        f"exponent {_USUAL_EXPONENT:g}. The traffic of the busiest cluster is a multiple of its "
        f"share; rooms are placed by hand until it is {_BOUND:g}, if they can be."
    )
    return Section(tables, data, [note])


_MOVING: Final = (
    ("change", "{change}"),
    ("placement", "{placement}"),
    ("rooms", "{rooms:.1%}"),
    ("x least", "{rooms_ratio:.2f}"),
    ("traffic", "{traffic:.1%}"),
    ("at most", "{traffic_most:.1%}"),
    ("busiest after", "{busiest:.2f}"),
)
_SKEWED: Final = (
    ("Zipf exponent", "{exponent}"),
    ("hottest room", "{hottest:.1%}"),
    ("busiest by hash", "{busiest:.2f}"),
    ("at most", "{busiest_most:.2f}"),
    ("rooms by hand", "{by_hand:,.0f}"),
    ("their traffic", "{by_hand_traffic:.1%}"),
    ("busiest then", "{busiest_then:.2f}"),
)


_Row = dict[str, Any]


def _change_rows(moves: _Moves) -> list[_Row]:
    return [
        _change_row(change, name, [seed[nth] for seed in seeds])
        for nth, change in enumerate(_CHANGES)
        for name, seeds in moves.items()
    ]


def _change_row(change: str, name: str, moves: Sequence[_Move]) -> _Row:
    rooms = median(each.rooms for each in moves)
    return {
        "change": change,
        "placement": name,
        "rooms": round(rooms, 4),
        "rooms_ratio": round(rooms / least_share(_BEFORE, _CHANGES[change]), 3),
        "traffic": round(median(each.traffic for each in moves), 4),
        "traffic_most": round(max(each.traffic for each in moves), 4),
        "busiest": round(median(each.busiest for each in moves), 3),
    }


def _skew_row(exponent: float, rooms: int, found: Sequence[_Skew]) -> _Row:
    return {
        "exponent": exponent,
        "hottest": round(1 / sum(rank**-exponent for rank in range(1, rooms + 1)), 5),
        "busiest": round(median(each.busiest for each in found), 3),
        "busiest_most": round(max(each.busiest for each in found), 3),
        "by_hand": median(each.rooms for each in found),
        "by_hand_traffic": round(median(each.traffic for each in found), 4),
        "busiest_then": round(median(each.relieved for each in found), 3),
    }
