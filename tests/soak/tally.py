"""What a soak has seen, in figures: no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Final

from tests.faults.history import Delivered, History, Outcome

# Fewer samples than this tell nothing about where memory goes.
_ENOUGH_SAMPLES: Final = 8
# From this on a run must have seen all that it is for.
_LONG_MINUTES: Final = 10.0
# What an allocator may do between two halves without anything being kept.
_TOLERANCE: Final = 1.10
_SPARE_FILES: Final = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held when all clients had gone.

    Attributes:
        minute: since the beginning.
        memory: resident, in bytes.
        files: open file descriptors.
    """

    minute: float
    memory: int
    files: int


@dataclass(slots=True)
class Tally:
    """What happened in one world.

    Attributes:
        name: the world.
        kinds: the faults that may be caused.
        steady: whether the processes live as long as the run.
        minutes: how long it was.
        chapters: how often everyone settled, and all was checked.
        stored: messages in the history.
        confirmed: tries to send one that were confirmed; what is sent again counts.
        refused: tries that were refused, as retryable.
        unanswered: tries whose connection broke before an answer came.
        deliveries: messages that came on a connection.
        connections: how often a client connected.
        not_recovered: how often a client was told that what it gets does not continue
            what it has.
        faults: how often each was caused.
        cut_off: readers that had stopped to read and were closed with 4008.
        violations: what should not have been.
        processes: samples of each.
    """

    name: str
    kinds: Sequence[str] = ()
    steady: bool = False
    minutes: float = 0.0
    chapters: int = 0
    stored: int = 0
    confirmed: int = 0
    refused: int = 0
    unanswered: int = 0
    deliveries: int = 0
    connections: int = 0
    not_recovered: int = 0
    cut_off: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    processes: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, history: History) -> None:
        """Counts what a chapter has seen."""
        outcomes = Counter(send.outcome for send in history.sends)
        self.chapters += 1
        self.stored += len(history.stored)
        self.confirmed += outcomes[Outcome.CONFIRMED]
        self.refused += outcomes[Outcome.REFUSED]
        self.unanswered += outcomes[Outcome.UNKNOWN]
        self.deliveries += sum(isinstance(event, Delivered) for event in history.seen)

    def sample(self, process: str, sample: Sample) -> None:
        """Notes what a process holds."""
        self.processes.setdefault(process, []).append(sample)

    def judge(self) -> list[str]:
        """Finds what was wrong: violations, what grew, and what was never put to the test.

        Returns:
            A line for each; none if all was well.
        """
        grown = [
            problem
            for process, samples in self.processes.items()
            for problem in growth(process, samples)
        ]
        return [f"{self.name}: {each}" for each in (*self.violations, *grown, *self._untried())]

    def _untried(self) -> Iterator[str]:
        """What a run that proves something has seen, and this one has not."""
        if not self.stored:
            yield "nothing was stored"
        if not self.deliveries:
            yield "nothing was delivered"
        if self.minutes < _LONG_MINUTES:
            return
        for kind in self.kinds:
            if not self.faults[kind]:
                yield f"never happened: {kind}"
        if self.steady and not self.cut_off:
            yield "nobody who had stopped to read was cut off"

    def to_json(self) -> dict[str, Any]:
        """All of it, as it is saved."""
        # `asdict` cannot make a counter anew.
        return asdict(replace(self, faults=Counter())) | {"faults": dict(self.faults)}


def enough(samples: Sequence[Sample]) -> bool:
    """Whether these tell where memory goes."""
    return len(samples) >= _ENOUGH_SAMPLES


def growth(process: str, samples: Sequence[Sample]) -> list[str]:
    """Says what a process holds more of in the last quarter than in the second.

    The first quarter is left out: caches fill.
    """
    if not enough(samples):
        return []
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    problems = []
    memory = [median(sample.memory for sample in part) for part in (early, late)]
    if memory[1] > memory[0] * _TOLERANCE:
        problems.append(f"the {process} grew from {mib(memory[0])} to {mib(memory[1])}")
    files = [max(sample.files for sample in part) for part in (early, late)]
    if files[1] > files[0] + _SPARE_FILES:
        problems.append(f"the {process} went from {files[0]} to {files[1]} open files")
    return problems


def mib(size: float) -> str:
    """A size in words."""
    return f"{size / 2**20:.1f} MiB"
