"""Measures how much an attacker slows down another client.

An innocent client sends a message every 50 ms and waits for its confirmation, alternately
alone and beside an attacker, with all limits at their defaults. The attacker is a separate
process at another address; the control shows the cost of just running such a process on a
machine with few processors.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp

from bench import meter, processes, safety, targets
from bench.attacks.kinds import ATTACKS, MESSAGES, ROOM, Attack
from bench.options import Effort, Options
from bench.processes import Running
from bench.report import Section, Table, progress, ratio
from bench.targets import HOST, ROOT

_ROUNDS: Final = {Effort.QUICK: 1, Effort.NORMAL: 3, Effort.FULL: 7}
_SECONDS: Final = {Effort.QUICK: 2.0, Effort.NORMAL: 4.0, Effort.FULL: 8.0}
_EVERY_SECONDS: Final = 0.05
# Skip the start of an attack, before any limit takes effect.
_BEGIN_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 10.0
_AT_ONCE: Final = 500

# Defaults, except to fill the room from one address.
_OFF: Final = ("--metrics-port", "off")
_PROXY: Final = (*_OFF, "--sends-per-second", "0")
_OPEN: Final = targets.project("attacked", "attacked", _OFF, _PROXY)
_KEYED: Final = targets.project("keyed", "attacked with keys", _OFF, _PROXY, safety.tokens)


@dataclass(slots=True)
class _Found:
    """The measurements of one attack.

    Attributes:
        alone: latencies of the innocent client without it, in seconds, a list per round.
        beside: the same beside it.
        lines: the number of lines that both processes logged, per round.
    """

    alone: list[list[float]] = field(default_factory=list)
    beside: list[list[float]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


_COLUMNS: Final = (
    ("attack", "{attack}"),
    ("p50 alone, ms", "{p50_alone_ms:.1f}"),
    ("beside it", "{p50_beside_ms:.1f}"),
    ("ratio", "{ratio:.1f}"),
    ("p99 beside it", "{p99_beside_ms:.1f}"),
    ("lines in the log", "{log_lines}"),
)


async def measure(options: Options) -> Section:
    """Measures each attack, alternating with none; returns medians of the rounds."""
    found = {attack: _Found() for attack in ATTACKS}
    for keyed in (False, True):
        attacks = [attack for attack in ATTACKS if attack.keyed is keyed]
        with processes.temporary_folder() as name:
            # Signed by another key of the same id.
            forged = safety.tokens(Path(name)).token if keyed else ""
        async with processes.running(_KEYED if keyed else _OPEN) as running:
            if not keyed:
                await _fill(running)
            for number in range(_ROUNDS[options.effort]):
                for attack in attacks:
                    progress(f"attacks, round {number + 1}: {attack.name}")
                    await _round(attack, running, forged, options, found[attack])
    rows = [_row(*each) for each in found.items()]
    title = "A client that sends a message every 50 ms, beside an attacker"
    return Section([Table.of(title, _COLUMNS, rows)], {"rows": rows})


def _row(attack: Attack, found: _Found) -> dict[str, object]:
    alone, beside = (
        [median(times) * 1e3 for times in kind] for kind in (found.alone, found.beside)
    )
    return {
        "attack": attack.name,
        "p50_alone_ms": round(median(alone), 2),
        "p50_beside_ms": round(median(beside), 2),
        "ratio": round(ratio(beside, alone), 2),
        "p99_beside_ms": round(median(_p99(times) * 1e3 for times in found.beside), 2),
        "log_lines": round(median(found.lines)),
    }


async def _round(
    attack: Attack, running: Running, forged: str, options: Options, found: _Found
) -> None:
    seconds = _SECONDS[options.effort]
    await meter.quiet(running.pids)
    found.alone.append(await _innocent(running, seconds))
    lines = _lines(running)
    async with _attacking(attack, running, forged):
        await asyncio.sleep(_BEGIN_SECONDS)
        found.beside.append(await _innocent(running, seconds))
    found.lines.append(_lines(running) - lines)


async def _innocent(running: Running, seconds: float) -> list[float]:
    """Sends messages for a while; returns the latency of each confirmation, in seconds.

    A missing confirmation counts as `_PATIENCE_SECONDS`, and ends the measurement.
    """
    latencies = []
    end = time.perf_counter() + seconds
    try:
        async with asyncio.timeout(seconds + _PATIENCE_SECONDS), _opened(running) as socket:
            while (start := time.perf_counter()) < end:
                await _say(socket, "innocent", "hello")
                latencies.append(time.perf_counter() - start)
                await asyncio.sleep(_EVERY_SECONDS)
    except TimeoutError:
        latencies.append(_PATIENCE_SECONDS)
    return latencies


@asynccontextmanager
async def _opened(running: Running) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    token = running.safety.token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"ws://{HOST}:{running.port}/"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers=headers) as socket,
    ):
        yield socket


async def _say(socket: aiohttp.ClientWebSocketResponse, room: str, content: str) -> None:
    """Sends a message until it is confirmed, waiting whenever it is rate limited."""
    name = uuid.uuid4().hex
    message = {"id": name, "room_id": room, "sender_id": "ada", "content": content}
    while True:
        await socket.send_json({"request_id": name, "chat_message": message})
        while (answer := await socket.receive_json()).get("request_id") != name:
            pass
        if "error" not in answer:
            return
        await asyncio.sleep(answer["error"].get("retry_after_ms", 100) / 1000)


async def _fill(running: Running) -> None:
    """Fills a room, with enough clients to stay within the rate limits."""
    progress("attacks: filling a room")
    for _ in range(MESSAGES // _AT_ONCE):
        async with _opened(running) as socket:
            for _ in range(_AT_ONCE):
                message = {"room_id": ROOM, "sender_id": "ada", "content": "x"}
                await socket.send_json({"chat_message": message})
            confirmed = 0
            while confirmed < _AT_ONCE:
                confirmed += "chat_message" in await socket.receive_json()


@asynccontextmanager
async def _attacking(attack: Attack, running: Running, forged: str) -> AsyncIterator[None]:
    server = running.upstream.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.attacks", attack.name, server, str(running.port)),
        forged,
        cwd=ROOT,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


def _lines(running: Running) -> int:
    return running.log.read_bytes().count(b"\n")


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]
