"""How thoroughly to measure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Effort(Enum):
    """How long a bench may take."""

    QUICK = "quick"
    NORMAL = "normal"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Plan:
    """How each pair of a workload and a target is measured.

    Attributes:
        rounds: how often, in turns with the other targets.
        peer_rounds: how often the peers that nothing is divided by, and all that is beside
            the comparison.
        idle_rounds: how often silent clients are weighed.
        cold_warm_up: how long load is applied before the window of a target that was just
            started, in seconds: Node compiles what it runs often.
        warm_up: the same for a target that was measured before.
        seconds: how long the window is.
        keep: whether targets go on from one workload to the next, which spares time, or
            each workload finds them freshly started.
    """

    rounds: int
    peer_rounds: int
    idle_rounds: int
    cold_warm_up: float
    warm_up: float
    seconds: float
    keep: bool


_PLANS = {
    Effort.QUICK: Plan(
        rounds=2,
        peer_rounds=1,
        idle_rounds=1,
        cold_warm_up=2.0,
        warm_up=0.3,
        seconds=0.8,
        keep=True,
    ),
    Effort.NORMAL: Plan(
        rounds=5,
        peer_rounds=3,
        idle_rounds=3,
        cold_warm_up=3.0,
        warm_up=1.0,
        seconds=3.0,
        keep=False,
    ),
    Effort.FULL: Plan(
        rounds=9,
        peer_rounds=5,
        idle_rounds=5,
        cold_warm_up=4.0,
        warm_up=1.5,
        seconds=5.0,
        keep=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line.

    Attributes:
        effort: how thoroughly to measure.
        workloads: the names of those to compare; all if empty.
        targets: the names of those to run; all if empty.
    """

    effort: Effort = Effort.NORMAL
    workloads: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """How each pair of a workload and a target is measured."""
        return _PLANS[self.effort]

    @property
    def side_plan(self) -> Plan:
        """The same for what is beside the comparison."""
        return replace(self.plan, rounds=self.plan.peer_rounds)

    @property
    def quick(self) -> bool:
        """Whether it has to be over soon."""
        return self.effort is Effort.QUICK
