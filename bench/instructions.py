"""Counts the instructions that a plain message takes, in the server and in the proxy.

Times differ from one run to the next by more than many a change costs, above all on a machine
that is shared. Instructions hardly do. They are counted by cachegrind, a tool of valgrind, under
which a program is some thirty times slower; the other program is not under it, so that work is
always waiting for the one that is.

Each program runs twice, with fewer and with more messages: the difference leaves out its start.
With ``--before FOLDER``, another checkout is counted as well. Neither the kernel's work nor waiting
for memory is in it: what says how fast a program is, is `compare`.
"""

import asyncio
import re
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from bench import processes
from bench.options import Options
from bench.processes import Running, TargetError
from bench.report import Section, Table, progress
from bench.targets import HOST, PROJECT, ROOT, Target

_CACHEGRIND: Final = (
    *("valgrind", "--tool=cachegrind", "--cache-sim=no", "--branch-sim=no"),
    "--cachegrind-out-file=/dev/null",
)
_COUNT: Final = re.compile(r"I\s+refs:\s+([\d,]+)")
# Nobody is taken for dead that is only slow. What is done each second would count thirty times.
_SERVER: Final = ("--heartbeat-seconds", "600", "--metrics-port", "off")
_PROXY: Final = ("--upstream-heartbeat-seconds", "60", "--metrics-port", "off")
_TEXT: Final = "x" * 64

_Socket = aiohttp.ClientWebSocketResponse[Any]


@dataclass(frozen=True, slots=True)
class _Load:
    """A workload.

    Attributes:
        clients: how many there are.
        rooms: how many rooms; clients are in them in turn, each in one.
        senders: how many of the clients send.
        in_flight: how many messages each sends before it waits for them.
        rounds: how often, in the short run and in the long one.
    """

    clients: int
    rooms: int
    senders: int
    in_flight: int
    rounds: tuple[int, int]

    def messages(self, rounds: int) -> int:
        """How many are sent."""
        return self.senders * self.in_flight * rounds


# As those of `compare`, with fewer clients, each of which sends so much at once that the batches
# between the programs are full: how full they are else is a matter of time.
_LOADS: Final = {
    "echo": _Load(20, 20, 20, 16, (3, 28)),
    "fan-out": _Load(101, 1, 1, 64, (1, 17)),
    "busy room": _Load(24, 1, 24, 16, (1, 9)),
    "rooms": _Load(100, 20, 20, 16, (1, 17)),
}
_QUICK: Final = ("echo", "busy room")
_PROGRAMS: Final = ("server", "proxy")


async def measure(options: Options) -> Section:
    """Counts, and prints a row for each workload and program."""
    if shutil.which(_CACHEGRIND[0]) is None:
        raise TargetError("needs valgrind: apt-get install --yes valgrind")
    roots = {"now": ROOT}
    if options.before is not None:
        roots = {"before": options.before, **roots}
    table = Table(
        "Instructions for a plain message", ["workload", "program", *roots, "ratio"], words=2
    )
    data: dict[str, dict[str, int]] = {}
    for name in _QUICK if options.quick else _LOADS:
        for program in _PROGRAMS:
            counts = {}
            for label, root in roots.items():
                progress(f"instructions: {name}, {program}, {label}")
                counts[label] = await _of_message(_LOADS[name], program, root)
            ratio = f"{counts['now'] / counts['before']:.3f}" if "before" in counts else ""
            table.add(name, program, *(f"{each:,}" for each in counts.values()), ratio)
            data[f"{name}, {program}"] = counts
    return Section([table], data)


async def _of_message(load: _Load, program: str, root: Path) -> int:
    few, many = [await _in_all(load, program, root, rounds) for rounds in load.rounds]
    return round((many - few) / (load.messages(load.rounds[1]) - load.messages(load.rounds[0])))


async def _in_all(load: _Load, program: str, root: Path, rounds: int) -> int:
    """The instructions of a program from its start to its end."""
    with processes.temporary_folder() as folder:
        async with processes.running(_watched(program), root, Path(folder)) as running:
            await _talk(load, running, rounds)
        log = running.log.read_text(errors="replace")
    if (found := _COUNT.search(log)) is None:
        raise TargetError(f"valgrind says nothing of its count:\n{log[-2000:]}")
    return int(found[1].replace(",", ""))


def _watched(program: str) -> Target:
    """The project, one of whose programs is counted."""
    server, proxy = PROJECT.server, PROJECT.proxy
    if server is None:
        raise AssertionError("the project has a server")
    before = {each: _CACHEGRIND if each == program else () for each in _PROGRAMS}
    return replace(
        PROJECT,
        server=lambda engine: [*before["server"], *server(engine), *_SERVER],
        proxy=lambda upstream: [*before["proxy"], *proxy(upstream), *_PROXY],
    )


async def _talk(load: _Load, running: Running, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        url = f"http://{HOST}:{running.port}/"
        sockets = [
            await stack.enter_async_context(session.ws_connect(url)) for _ in range(load.clients)
        ]
        for nth, socket in enumerate(sockets):
            await socket.send_json({"join": {"room_id": f"room {nth % load.rooms}"}})
            await socket.receive_json()
        # Each is sent the messages of all who send to its room.
        expected = load.in_flight * max(1, load.senders // load.rooms)
        for number in range(rounds):
            await asyncio.gather(
                *(_send(socket, nth, load, number) for nth, socket in _senders(load, sockets))
            )
            await asyncio.gather(*(_receive(socket, expected) for socket in sockets))


def _senders(load: _Load, sockets: list[_Socket]) -> list[tuple[int, _Socket]]:
    return list(enumerate(sockets))[: load.senders]


async def _send(socket: _Socket, nth: int, load: _Load, number: int) -> None:
    for each in range(load.in_flight):
        message = {
            "id": f"{number}-{each}",
            "room_id": f"room {nth % load.rooms}",
            "sender_id": f"user {nth}",
            "content": _TEXT,
        }
        await socket.send_str(orjson.dumps({"chat_message": message}).decode())


async def _receive(socket: _Socket, number: int) -> None:
    for _ in range(number):
        received = await socket.receive()
        if received.type is not aiohttp.WSMsgType.TEXT:
            raise TargetError(f"a client was cut off: {received}")
