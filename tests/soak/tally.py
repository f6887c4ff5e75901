"""The figures of a soak: no I/O."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Final

from tests.faults.history import Delivered, History, Outcome

# Fewer samples show no trend of the memory.
_ENOUGH_SAMPLES: Final = 8
# From this length on, a run must have seen every event that it is for.
_LONG_MINUTES: Final = 10.0
# Growth by the allocator alone between two halves.
_TOLERANCE: Final = 1.10
_SPARE_FILES: Final = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement of a process without clients.

    Attributes:
        minute: time since the beginning.
        memory: resident memory, in bytes.
        files: number of open file descriptors.
    """

    minute: float
    memory: int
    files: int


@dataclass(slots=True)
class Tally:
    """Figures of one world.

    Attributes:
        name: the world.
        kinds: possible faults.
        steady: whether the processes live as long as the run.
        minutes: length of the run.
        chapters: number of settled and checked chapters.
        stored: messages in the history.
        confirmed: confirmed attempts to send, repeated ones included.
        refused: attempts refused as retryable.
        unanswered: attempts whose connection broke before the answer.
        deliveries: messages that came on a connection.
        connections: number of client connections.
        not_recovered: number of joins that could not be continued.
        told_typing: number of times that a client was told that somebody types.
        slowest_departure: the longest time that somebody who had left was shown, in seconds;
            0 if nobody waited for it.
        faults: number of faults, by kind.
        cut_off: stalled readers that were closed with 4008.
        violations: violations of the guarantees.
        processes: samples of each process.
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
    told_typing: int = 0
    slowest_departure: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    processes: dict[str, list[Sample]] = field(default_factory=dict)

    def add(self, history: History) -> None:
        """Adds the figures of a chapter."""
        outcomes = Counter(send.outcome for send in history.sends)
        self.chapters += 1
        self.stored += len(history.stored)
        self.confirmed += outcomes[Outcome.CONFIRMED]
        self.refused += outcomes[Outcome.REFUSED]
        self.unanswered += outcomes[Outcome.UNKNOWN]
        self.deliveries += sum(isinstance(event, Delivered) for event in history.seen)

    def sample(self, process: str, sample: Sample) -> None:
        """Adds a measurement."""
        self.processes.setdefault(process, []).append(sample)

    def judge(self) -> list[str]:
        """Finds problems: violations, growth, and what was never put to the test.

        Returns:
            A line for each problem.
        """
        grown = [
            problem
            for process, samples in self.processes.items()
            for problem in growth(process, samples)
        ]
        return [f"{self.name}: {each}" for each in (*self.violations, *grown, *self._untried())]

    def _untried(self) -> Iterator[str]:
        """Events that a conclusive run has, and this one has not."""
        if not self.stored:
            yield "nothing was stored"
        if not self.deliveries:
            yield "nothing was delivered"
        if self.minutes < _LONG_MINUTES:
            return
        for kind in self.kinds:
            if not self.faults[kind]:
                yield f"never happened: {kind}"
        if not self.told_typing:
            yield "nobody was seen to type"
        if self.steady and not self.cut_off:
            yield "nobody who had stopped to read was cut off"

    def to_json(self) -> dict[str, Any]:
        """All figures, as saved."""
        # `asdict` cannot rebuild a counter.
        return asdict(replace(self, faults=Counter())) | {"faults": dict(self.faults)}


def enough(samples: Sequence[Sample]) -> bool:
    """Whether these suffice to show a trend of the memory."""
    return len(samples) >= _ENOUGH_SAMPLES


def growth(process: str, samples: Sequence[Sample]) -> list[str]:
    """Describes growth of a process from the second quarter to the last.

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
    """Formats a size."""
    return f"{size / 2**20:.1f} MiB"
