"""The effort of a run, and the rounds and times it implies."""

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path


class Effort(Enum):
    """The time that a run may take."""

    QUICK = "quick"
    NORMAL = "normal"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Plan:
    """The rounds and times for each pair of a workload and a target.

    Attributes:
        rounds: the number of rounds, alternating with the other targets.
        peer_rounds: rounds of peers that are not the base of ratios, and of everything beside
            the comparison.
        idle_rounds: rounds of silent clients.
        cold_warm_up: the time under load before the window of a target that was just
            started, in seconds: Node compiles its hot code.
        warm_up: the same for a target that was measured before.
        seconds: the length of the window.
        keep: whether targets keep running from one workload to the next, which saves time,
            or are restarted for each.
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
    """The options of the command line.

    Attributes:
        effort: the effort of the run.
        workloads: the names of the workloads to compare; all if empty.
        targets: the names of the targets to run; all if empty.
        before: another checkout of the project, to compare with; see `page` and `instructions`.
    """

    effort: Effort = Effort.NORMAL
    workloads: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    before: Path | None = None

    @property
    def plan(self) -> Plan:
        """The plan of the comparison."""
        return _PLANS[self.effort]

    @property
    def side_plan(self) -> Plan:
        """The plan of everything beside the comparison."""
        return replace(self.plan, rounds=self.plan.peer_rounds)

    @property
    def quick(self) -> bool:
        """Whether this is a quick run."""
        return self.effort is Effort.QUICK
