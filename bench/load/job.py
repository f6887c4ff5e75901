"""The job of a load process, and its result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

from bench.load.dialects import PLAIN
from bench.workloads import Workload

Kind = Literal["drive", "connect", "idle"]

# From this share of one core up, the load client limits the result, or may limit it.
BOUND_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement.

    Attributes:
        kind: whether to send messages, to open and close connections, or to measure
            the memory of silent clients.
        workload: the clients and rooms. To connect, each room has one client.
        host: the address of the target.
        ports: its TCP ports, one for each node. The members of a room take them in turn.
        pids: the target's processes.
        engine: those of what its nodes share; processes that they started count with them.
        tag: distinguishes the rooms and ids of this job from those of all others.
        warm_up: the time under load before the window, in seconds.
        seconds: the length of the window.
        token: the token of all clients, or empty; they send in its subject's name.
        authority: the file with the target's CA, in PEM; empty without TLS.
        dialect: the name of its way to speak.
        follow: whether clients follow the changes of their room.
    """

    kind: Kind
    workload: Workload
    host: str
    ports: tuple[int, ...]
    pids: tuple[int, ...]
    engine: tuple[int, ...]
    tag: str
    warm_up: float
    seconds: float
    token: str = ""
    authority: str = ""
    dialect: str = PLAIN
    follow: bool = False

    def to_json(self) -> str:
        """Returns the job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Reads a job from JSON."""
        fields = json.loads(text)
        workload = Workload(**fields.pop("workload"))
        for name in ("ports", "pids", "engine"):
            fields[name] = tuple(fields[name])
        return cls(workload=workload, **fields)


@dataclass(frozen=True, slots=True)
class Result:
    """The measurements of the window.

    Attributes:
        seconds: its length.
        done: the number of deliveries, or of connections that were opened, joined a
            room and were closed.
        latencies: from sending to receiving at the sender: the median and the 99th
            percentile, in seconds. For connections, from opening to having joined.
        far: the same from sending to receiving at others, if the workload has a rate.
        messages: the number of messages that returned to their senders.
        cpu: the processor time of each of the target's processes, in seconds.
        engine_cpu: that of what its nodes share.
        load_cpu: that of the load process.
        load_lag: the 99th percentile of the delay of the load process's event loop, in
            seconds.
        client_bytes: the memory of the target's processes per client.
    """

    seconds: float = 0.0
    done: int = 0
    latencies: tuple[float, float] = (0.0, 0.0)
    far: tuple[float, float] = (0.0, 0.0)
    messages: int = 0
    cpu: tuple[float, ...] = ()
    engine_cpu: float = 0.0
    load_cpu: float = 0.0
    load_lag: float = 0.0
    client_bytes: float = 0.0

    @property
    def rate(self) -> float:
        """Deliveries or connections per second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def efficiency(self) -> float:
        """Deliveries or connections per second of the target's processor time."""
        return self.done / max(sum(self.cpu) + self.engine_cpu, 0.01)

    @property
    def load_share(self) -> float:
        """The share of one core that the load process used."""
        return self.load_cpu / self.seconds if self.seconds else 0.0

    def to_json(self) -> str:
        """Returns the result as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Reads a result from JSON."""
        fields = json.loads(text)
        for name in ("latencies", "far", "cpu"):
            fields[name] = tuple(fields[name])
        return cls(**fields)
