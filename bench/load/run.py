"""Runs one job."""

import asyncio
import gc
import os
import random
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter

from bench import meter
from bench.load import frames
from bench.load.clients import Listener, LoadError, Receiver, Room, Sender, Tally
from bench.load.dialects import DIALECTS
from bench.load.frames import LETTERS, Messages
from bench.load.job import Job, Result
from bench.load.opening import Place, open_all, open_one, places

_FIRST_ANSWERS_SECONDS = 15.0
_DRAIN_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_LAG_STEP = 0.01
_TRIAL_CLIENTS = 20


async def run(job: Job) -> Result:
    """Runs a job.

    Raises:
        LoadError: the target closed a connection, or did not deliver each message to
            each member of its room.
    """
    # No significant cycles are created here.
    gc.disable()
    match job.kind:
        case "drive":
            return await (_Pace(job) if job.workload.rate else _Drive(job)).run()
        case "connect":
            return await _Connect(job).run()
        case "idle":
            return await _weigh(job)


class _Window:
    """The measurement window: starts when created."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lags: list[float] = []
        self._lagging = asyncio.create_task(self._watch_lag())
        self._start = perf_counter()
        self._cpu, self._engine = _used(job)
        self._load = meter.cpu_seconds(os.getpid())

    def result(self, done: int, latencies: Sequence[float], far: Sequence[float] = ()) -> Result:
        """Ends the window."""
        seconds = perf_counter() - self._start
        load = meter.cpu_seconds(os.getpid()) - self._load
        after, engine = _used(self._job)
        self._lagging.cancel()
        return Result(
            seconds=seconds,
            done=done,
            latencies=_percentiles(latencies),
            far=_percentiles(far),
            messages=len(latencies),
            cpu=tuple(end - start for start, end in zip(self._cpu, after, strict=True)),
            engine_cpu=engine - self._engine,
            load_cpu=load,
            load_lag=_percentile(self._lags, 0.99),
        )

    async def _watch_lag(self) -> None:
        while True:
            start = perf_counter()
            await asyncio.sleep(_LAG_STEP)
            self._lags.append(max(0.0, perf_counter() - start - _LAG_STEP))


def _used(job: Job) -> tuple[list[float], float]:
    """The processor time of each of the target's processes, and of its engine."""
    return (
        [meter.cpu_seconds(pid) for pid in job.pids],
        sum(map(meter.tree_cpu_seconds, job.engine)),
    )


class _Drive:
    """Clients in rooms, some of which send."""

    receiver: type[Receiver] = Receiver

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tally = Tally()
        self._rooms = [Room() for _ in range(job.workload.rooms)]
        self._clients: list[Receiver] = []

    async def run(self) -> Result:
        await self._open()
        self._begin()
        await self._warm_up()
        result = await self._measure()
        await self._drain()
        self._tally.closing = True
        for client in self._clients:
            client.transport.write(frames.CLOSE)
            client.transport.close()
        return result

    def _begin(self) -> None:
        in_flight = self._job.workload.in_flight
        for sender in self._senders():
            sender.send(in_flight, perf_counter())

    async def _open(self) -> None:
        job, workload = self._job, self._job.workload
        ids = frames.room_ids(job.tag, workload)
        taken = list(places(job))
        silent = (workload.members - workload.senders) * workload.rooms
        transports = await open_all(job, taken[:silent])
        for (number, _), transport in zip(taken, transports, strict=False):
            self._add(transport, self.receiver(transport, self._rooms[number], self._tally))
        transports = await open_all(job, taken[silent:])
        for number, transport in enumerate(transports):
            nth, at = divmod(number, workload.rooms)
            # The token names the sender.
            name = "" if job.token else None
            dialect = DIALECTS[job.dialect]
            messages = Messages(dialect, job.tag, ids[at], number, LETTERS[nth], name)
            sender = Sender(transport, self._rooms[at], self._tally, messages, LETTERS[nth])
            self._add(transport, sender)

    def _add(self, transport: asyncio.Transport, client: Receiver) -> None:
        transport.set_protocol(client)
        self._clients.append(client)

    def _senders(self) -> list[Sender]:
        return [sender for room in self._rooms for sender in room.senders]

    async def _warm_up(self) -> None:
        await asyncio.sleep(self._job.warm_up)
        deadline = perf_counter() + _FIRST_ANSWERS_SECONDS
        while not all(sender.confirmed for sender in self._senders()):
            if perf_counter() > deadline:
                raise LoadError("not every sender was answered")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _measure(self) -> Result:
        latencies, far = self._tally.latencies, self._tally.far
        latencies.clear()
        far.clear()
        window = _Window(self._job)
        before = self._received()
        await asyncio.sleep(self._job.seconds)
        return window.result(self._received() - before, latencies, far)

    async def _drain(self) -> None:
        """Waits for messages in flight: each member must receive each message."""
        self._tally.running = False
        members = self._job.workload.members
        expected = sum(sender.sent for sender in self._senders()) * members
        deadline = perf_counter() + _DRAIN_SECONDS
        while self._received() < expected and not self._tally.lost:
            if perf_counter() > deadline:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if self._tally.lost:
            raise LoadError(f"the target closed {self._tally.lost} connections")
        if self._received() != expected:
            raise LoadError(f"{self._received():,} deliveries came instead of {expected:,}")

    def _received(self) -> int:
        return sum(room.received for room in self._rooms)


class _Pace(_Drive):
    """Clients in rooms, one of which sends at a steady rate, whatever comes back.

    The pauses are random, as of many people who know nothing of each other.
    """

    receiver = Listener

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._tally.running = False  # nothing is sent because something returned
        self._pacing: asyncio.Task[None] | None = None

    def _begin(self) -> None:
        self._pacing = asyncio.create_task(self._pace())

    async def _pace(self) -> None:
        pauses = random.Random(self._job.tag)  # noqa: S311 - not a secret
        due = perf_counter()
        while True:
            for room in self._rooms:
                due += pauses.expovariate(self._job.workload.rate)
                await asyncio.sleep(due - perf_counter())
                now = perf_counter()
                room.sent_at.append(now)
                room.senders[0].send(1, now)

    async def _drain(self) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
            with suppress(asyncio.CancelledError):
                await self._pacing
        await super()._drain()


class _Connect:
    """Clients that open a connection, join a room, close, and start over."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._times: list[float] = []
        self._running = True

    async def run(self) -> Result:
        job = self._job
        workers = [asyncio.create_task(self._come_and_go(place)) for place in places(job)]
        await asyncio.sleep(job.warm_up)
        self._times.clear()
        window = _Window(job)
        await asyncio.sleep(job.seconds)
        result = window.result(len(self._times), self._times)
        self._running = False
        await asyncio.gather(*workers)
        return result

    async def _come_and_go(self, place: Place) -> None:
        while self._running:
            start = perf_counter()
            opening = await open_one(self._job, place)
            self._times.append(perf_counter() - start)
            opening.transport.write(frames.CLOSE)
            await opening.closed


async def _weigh(job: Job) -> Result:
    """Measures silent clients: the target's memory with them, minus that without."""
    taken = list(places(job))
    # The first clients cause allocations that are not per client.
    await _leave(await open_all(job, taken[:_TRIAL_CLIENTS]))
    await meter.quiet(job.pids)
    before = sum(map(meter.memory_bytes, job.pids))
    transports = await open_all(job, taken)
    await meter.quiet(job.pids)
    after = sum(map(meter.memory_bytes, job.pids))
    await _leave(transports)
    return Result(client_bytes=(after - before) / len(taken))


async def _leave(transports: Sequence[asyncio.Transport]) -> None:
    for transport in transports:
        transport.write(frames.CLOSE)
        transport.close()
    await asyncio.sleep(0)


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    return _percentile(values, 0.5), _percentile(values, 0.99)


def _percentile(values: Sequence[float], share: float) -> float:
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
