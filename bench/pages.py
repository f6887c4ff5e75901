"""Measures what it costs to read a page of a room's messages, of which some or all have changed.

The same pages are read in three ways: from a store; of the server, by gRPC; and through server and
proxy, by WebSocket. One caller asks, and waits for the answer, which it does not decode. Rooms
alternate, a few pages at a time, so that a slow moment of the machine affects all of them alike.
What counts is the processor time of all processes but the caller's, the database's included; the
time that the caller waits has the way between processes in it, too.

Rooms differ in how many of their messages have changed: each of these has one reaction, of a user
who is named. The answers are that much longer, which is part of what is measured.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import orjson
import psutil
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.base import CodecBase

import codec
from bench import engines, meter, processes
from bench.engines import Engine
from bench.options import Effort, Options
from bench.processes import Running
from bench.report import Section, Table, progress
from bench.stores import open_store
from bench.targets import HOST, POSTGRESQL, PROJECT, Target
from chat.storage.base import Range, Store
from chat.storage.changes import Change
from gen.chat import ChangeMessageRequest, ChatMessage, GetChatHistoryRequest

PAGE: Final = 50
_MESSAGES: Final = 2_000
_AT_ONCE: Final = 250
# How many pages of each room are read in each way, and how many of them in a row.
_PAGES: Final = {Effort.QUICK: 600, Effort.NORMAL: 3_000, Effort.FULL: 9_000}
_IN_A_ROW: Final = 20
# Of so many messages one changed.
_ROOMS: Final = {
    "without changes": 0,
    "one in ten changed": 10,
    "one in four changed": 4,
    "all changed": 1,
}
_WAYS: Final = ("store", "gRPC", "WebSocket")

_Read = Callable[[str, int], Awaitable[int]]
"""Reads a page of a room behind a position; returns its size in bytes, or 0 if it has none."""


@dataclass(slots=True)
class _Times:
    """The pages of one room, read in one way.

    Attributes:
        waited: how long the caller waited for each, in seconds.
        used: the processor time that each took; of those in a row, their mean.
        bytes: the size of the last one; 0 if it was not encoded.
    """

    waited: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    bytes: int = 0


_Measured = dict[str, dict[str, _Times]]
"""By the way, and by the room."""


async def _fill(store: Store) -> None:
    for room, every in _ROOMS.items():
        progress(f"pages: filling a room, {room}")
        numbers = range(1, _MESSAGES + 1)
        await store.append([ChatMessage(f"{n:08}", room, "ada", "x" * 64) for n in numbers])
        changed = numbers[::every] if every else ()
        for at in range(0, len(changed), _AT_ONCE):
            requests = [
                ChangeMessageRequest(room, seq, "ben", react="👍")
                for seq in changed[at : at + _AT_ONCE]
            ]
            await asyncio.gather(*(store.change(Change(request)) for request in requests))


async def _time(read: _Read, pids: Sequence[int], number: int) -> dict[str, _Times]:
    """Reads so many pages of each room.

    Args:
        read: reads one.
        pids: the processes whose time counts.
        number: how many.
    """
    times = {room: _Times() for room in _ROOMS}
    for first in range(0, number, _IN_A_ROW):
        for room, each in times.items():
            before = sum(map(meter.precise_cpu_seconds, pids))
            for nth in range(first, first + _IN_A_ROW):
                start = time.perf_counter()
                each.bytes = await read(room, nth * 7 % (_MESSAGES - PAGE))
                each.waited.append(time.perf_counter() - start)
            each.used.append((sum(map(meter.precise_cpu_seconds, pids)) - before) / _IN_A_ROW)
    return times


def _with_children(pids: Sequence[int]) -> list[int]:
    """Returns processes and all that they have started, such as the backends of a database."""
    found = [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
    return [*pids, *found]


class _Undecoded(CodecBase):
    """Leaves answers as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 - grpclib's
        """See grpclib."""
        return codec.encode(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:  # noqa: ARG002 - grpclib's
        """See grpclib."""
        return data


async def _by_store(store: Store, engine: Engine, number: int) -> dict[str, _Times]:
    async def read(room: str, after: int) -> int:
        page = await store.history(room, Range(PAGE, after_seq=after))
        if len(page.messages) != PAGE:
            raise AssertionError("a page came back short")
        return 0

    await read("all changed", 0)  # opens the connections
    return await _time(read, [os.getpid(), *_with_children(engine.pids)], number)


async def _by_grpc(running: Running, number: int) -> dict[str, _Times]:
    host, port = running.upstream.split(":")
    path = "/chat.ChatService/GetChatHistory"
    async with Channel(host, int(port), codec=_Undecoded()) as channel:
        method = UnaryUnaryMethod(channel, path, GetChatHistoryRequest, bytes)

        async def read(room: str, after: int) -> int:
            return len(await method(GetChatHistoryRequest(room, PAGE, after_seq=after)))

        await read("all changed", 0)  # opens the connections
        return await _time(read, _with_children([running.pids[0], *running.engine]), number)


async def _by_websocket(running: Running, number: int) -> dict[str, _Times]:
    url = f"http://{HOST}:{running.port}/"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:

        async def read(room: str, after: int) -> int:
            asked = {"room_id": room, "limit": PAGE, "after_seq": after}
            await socket.send_str(orjson.dumps({"get_chat_history": asked}).decode())
            answer = await socket.receive_str()
            if not answer.startswith('{"chat_history"'):
                raise AssertionError(answer[:200])
            return len(answer.encode())

        await read("all changed", 0)  # opens the connections
        return await _time(read, _with_children([*running.pids, *running.engine]), number)


async def _measure(target: Target, effort: Effort) -> _Measured:
    number = _PAGES[effort]
    with processes.temporary_folder() as name:
        async with target.engine(Path(name)) as engine:
            store = await open_store(engine.url)
            await _fill(store)
            await store.close()
            # What is on disk, not what is in memory still.
            store = await open_store(engine.url)
            progress(f"pages: {target.label}, of the store")
            by_store = await _by_store(store, engine, number)
            await store.close()

            @asynccontextmanager
            async def same(_: Path) -> AsyncIterator[Engine]:
                yield engine

            async with processes.running(replace(target, engine=same)) as running:
                await meter.quiet(running.pids)
                progress(f"pages: {target.label}, by gRPC")
                by_grpc = await _by_grpc(running, number)
                progress(f"pages: {target.label}, by WebSocket")
                by_websocket = await _by_websocket(running, number)
    return dict(zip(_WAYS, (by_store, by_grpc, by_websocket), strict=True))


_COLUMNS: Final = (
    ("read by", "{read_by}"),
    ("room", "{room}"),
    ("processor, µs", "{processor_us}"),
    ("ratio", "{processor_ratio}"),
    ("waiting, µs", "{waiting_us}"),
    ("ratio", "{waiting_ratio}"),
    ("bytes", "{bytes:,}"),
)


def _rows(measured: _Measured) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for way, by_room in measured.items():
        base = by_room["without changes"]
        for room, times in by_room.items():
            used, waited = median(times.used), median(times.waited)
            rows.append({
                "read_by": way, "room": room,
                "processor_us": round(used * 1e6, 1),
                "processor_ratio": round(used / median(base.used), 2),
                "waiting_us": round(waited * 1e6, 1),
                "waiting_ratio": round(waited / median(base.waited), 2),
                "bytes": times.bytes,
            })  # fmt: skip
    return rows


async def measure(options: Options) -> Section:
    """Measures each engine that is installed; ratios are to the room without changes."""
    tables, data, notes = [], {}, []
    targets = {"SQLite": PROJECT}
    if lacking := engines.missing_postgresql():
        notes.append(f"Not on PostgreSQL: {lacking} is missing.")
    else:
        targets["PostgreSQL"] = POSTGRESQL
    for name, target in targets.items():
        data[name] = _rows(await _measure(target, options.effort))
        tables.append(Table.of(f"A page of {PAGE} messages, {name}", _COLUMNS, data[name], words=2))
    return Section(tables, {"page": PAGE, "engines": data}, notes)
