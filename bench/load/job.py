"""What a load process is asked to do, and what it answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from bench.workloads import Workload

Kind = Literal["drive", "connect", "idle"]

# From this share of one core on, the load client is what limits the result, or
# may be.
BOUND_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement.

    Attributes:
        kind: whether messages are driven through, connections are opened and closed,
            or silent clients are weighed.
        workload: who is where. To connect, each room has a client that comes and goes.
        host: where the target listens.
        port: its TCP port.
        pids: the target's processes.
        tag: sets the rooms and ids of this job apart from those of all others.
        warm_up: how long to drive before the window, in seconds.
        seconds: how long the window is.
        token: what each client presents, if anything; it sends in that name.
        authority: the file with the certificate that the target's is signed by, in PEM;
            empty for a target without TLS.
    """

    kind: Kind
    workload: Workload
    host: str
    port: int
    pids: tuple[int, ...]
    tag: str
    warm_up: float
    seconds: float
    token: str = ""
    authority: str = ""

    def to_json(self) -> str:
        """Returns the job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Reads a job from JSON."""
        fields = json.loads(text)
        workload = Workload(**fields.pop("workload"))
        pids = tuple(fields.pop("pids"))
        return cls(workload=workload, pids=pids, **fields)


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured in the window.

    Attributes:
        seconds: how long it was.
        done: how many messages were delivered, each to one client; or how many
            connections were opened, joined a room and were closed.
        latencies: from sending to receiving at the sender: the median and the 99th
            percentile, in seconds. For connections, from opening to having joined.
        cpu: the processor time of each of the target's processes, in seconds.
        load_cpu: that of the load process.
        load_lag: the 99th percentile of how late the load process's event loop was, in
            seconds.
        client_bytes: the memory of the target's processes for each client.
    """

    seconds: float = 0.0
    done: int = 0
    latencies: tuple[float, float] = (0.0, 0.0)
    cpu: tuple[float, ...] = ()
    load_cpu: float = 0.0
    load_lag: float = 0.0
    client_bytes: float = 0.0

    @property
    def rate(self) -> float:
        """What was done in a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def efficiency(self) -> float:
        """What was done in a second of the target's processor time."""
        return self.done / max(sum(self.cpu), 0.01)

    @property
    def load_share(self) -> float:
        """The share of one core that the load process took."""
        return self.load_cpu / self.seconds if self.seconds else 0.0

    def to_json(self) -> str:
        """Returns the result as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Reads a result from JSON."""
        fields = json.loads(text)
        latencies = tuple(fields.pop("latencies"))
        return cls(latencies=latencies, cpu=tuple(fields.pop("cpu")), **fields)
