"""Runs one job."""

import asyncio
import gc
import os
import ssl
from collections.abc import Sequence
from time import perf_counter

from bench import meter
from bench.load import frames
from bench.load.clients import LoadError, Opening, Receiver, Room, Sender, Tally
from bench.load.frames import LETTERS, Messages
from bench.load.job import Job, Result
from tests.kit.web import handshake

_OPENING_AT_ONCE = 64
_CONNECT_SECONDS = 60.0
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
            return await _Drive(job).run()
        case "connect":
            return await _Connect(job).run()
        case "idle":
            return await _weigh(job)


class _Window:
    """The measurement window: starts when created."""

    def __init__(self, job: Job) -> None:
        self._pids = job.pids
        self._lags: list[float] = []
        self._lagging = asyncio.create_task(self._watch_lag())
        self._start = perf_counter()
        self._cpu = [meter.cpu_seconds(pid) for pid in job.pids]
        self._load = meter.cpu_seconds(os.getpid())

    def result(self, done: int, latencies: Sequence[float]) -> Result:
        """Ends the window."""
        seconds = perf_counter() - self._start
        load = meter.cpu_seconds(os.getpid()) - self._load
        after = [meter.cpu_seconds(pid) for pid in self._pids]
        self._lagging.cancel()
        return Result(
            seconds=seconds,
            done=done,
            latencies=(_percentile(latencies, 0.5), _percentile(latencies, 0.99)),
            cpu=tuple(end - start for start, end in zip(self._cpu, after, strict=True)),
            load_cpu=load,
            load_lag=_percentile(self._lags, 0.99),
        )

    async def _watch_lag(self) -> None:
        while True:
            start = perf_counter()
            await asyncio.sleep(_LAG_STEP)
            self._lags.append(max(0.0, perf_counter() - start - _LAG_STEP))


class _Drive:
    """Clients in rooms, some of which send."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tally = Tally()
        self._rooms = [Room() for _ in range(job.workload.rooms)]
        self._clients: list[Receiver] = []

    async def run(self) -> Result:
        await self._open()
        in_flight = self._job.workload.in_flight
        for sender in self._senders():
            sender.send(in_flight, perf_counter())
        await self._warm_up()
        result = await self._measure()
        await self._drain()
        self._tally.closing = True
        for client in self._clients:
            client.transport.write(frames.CLOSE)
            client.transport.close()
        return result

    async def _open(self) -> None:
        job, workload = self._job, self._job.workload
        ids = frames.room_ids(job.tag, workload)
        silent = workload.members - workload.senders
        transports = await open_all(job, ids * silent)
        for transport, room in zip(transports, self._rooms * silent, strict=True):
            self._add(transport, Receiver(transport, room, self._tally))
        transports = await open_all(job, ids * workload.senders)
        for number, transport in enumerate(transports):
            nth, at = divmod(number, workload.rooms)
            # The token names the sender.
            name = "" if job.token else None
            messages = Messages(job.tag, ids[at], number, LETTERS[nth], name)
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
        latencies = self._tally.latencies
        latencies.clear()
        window = _Window(self._job)
        before = self._received()
        await asyncio.sleep(self._job.seconds)
        return window.result(self._received() - before, latencies)

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


class _Connect:
    """Clients that open a connection, join a room, close, and start over."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._times: list[float] = []
        self._running = True

    async def run(self) -> Result:
        job = self._job
        ids = frames.room_ids(job.tag, job.workload)
        workers = [asyncio.create_task(self._come_and_go(room_id)) for room_id in ids]
        await asyncio.sleep(job.warm_up)
        self._times.clear()
        window = _Window(job)
        await asyncio.sleep(job.seconds)
        result = window.result(len(self._times), self._times)
        self._running = False
        await asyncio.gather(*workers)
        return result

    async def _come_and_go(self, room_id: str) -> None:
        while self._running:
            start = perf_counter()
            opening = await _open_one(self._job, room_id)
            self._times.append(perf_counter() - start)
            opening.transport.write(frames.CLOSE)
            await opening.closed


async def _weigh(job: Job) -> Result:
    """Measures silent clients: the target's memory with them, minus that without."""
    ids = frames.room_ids(job.tag, job.workload) * job.workload.members
    # The first clients cause allocations that are not per client.
    await _leave(await open_all(job, ids[:_TRIAL_CLIENTS]))
    await meter.quiet(job.pids)
    before = sum(map(meter.memory_bytes, job.pids))
    transports = await open_all(job, ids)
    await meter.quiet(job.pids)
    after = sum(map(meter.memory_bytes, job.pids))
    await _leave(transports)
    return Result(client_bytes=(after - before) / len(ids))


async def _leave(transports: Sequence[asyncio.Transport]) -> None:
    for transport in transports:
        transport.write(frames.CLOSE)
        transport.close()
    await asyncio.sleep(0)


async def open_all(job: Job, room_ids: Sequence[str]) -> list[asyncio.Transport]:
    """Opens a connection for each given room, in about this order, and joins the room."""
    slots = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def open_in_turn(room_id: str) -> asyncio.Transport:
        async with slots:
            return (await _open_one(job, room_id)).transport

    async with asyncio.timeout(_CONNECT_SECONDS):
        return await asyncio.gather(*map(open_in_turn, room_ids))


async def _open_one(job: Job, room_id: str) -> Opening:
    bearer = f"Bearer {job.token}" if job.token else None
    hello = handshake(Host=f"{job.host}:{job.port}", Authorization=bearer)
    tls = ssl.create_default_context(cafile=job.authority) if job.authority else None
    _, opening = await asyncio.get_running_loop().create_connection(
        lambda: Opening(hello, room_id), job.host, job.port, ssl=tls
    )
    await opening.joined
    return opening


def _percentile(values: Sequence[float], share: float) -> float:
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
