"""Hints by the sharded publish and subscribe of Valkey or Redis, one server or a cluster.

In a cluster the channels are spread over its servers by their slots, as keys are: each hint goes
through one server only. There are two connections to each: one that subscribes, which may do
nothing else, and one that publishes.

Whatever changes in a cluster, such as a slot that moves or a server that takes another's place,
shows as an error, as an end of a subscription that nobody asked for, or as a lost connection. The
link is then given up, and the next one looks at the cluster anew: that takes milliseconds, and what
was missed is looked for (see `hints`).
"""

import asyncio
import random
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from chat.storage.postgres.hint_payloads import CHANNELS
from chat.storage.postgres.link import BusDown, Connect, Hear, Link
from chat.storage.postgres.valkey_address import Server, ValkeyAddress
from chat.storage.postgres.valkey_wire import Wire

_SLOTS: Final = 16384


class Topology(NamedTuple):
    """Which server has which slots.

    Attributes:
        ranges: first and last slot, and their server.
    """

    ranges: Sequence[tuple[int, int, Server]]

    def server_of(self, channel: str) -> Server:
        """The server that carries a channel."""
        slot = crc_hqx(channel.encode(), 0) % _SLOTS
        for first, last, server in self.ranges:
            if first <= slot <= last:
                return server
        raise BusDown("the cluster has slots that no server has")


def valkey(address: ValkeyAddress) -> Connect:
    """Makes links to Valkey or Redis."""

    async def open_link(hear: Hear) -> Link:
        return ValkeyLink(address, await _look(address), hear)

    return open_link


class ValkeyLink(Link):
    """Connections to the servers that carry hints, made as they are needed."""

    most_channels = CHANNELS
    pause_seconds = 0.001

    def __init__(self, address: ValkeyAddress, topology: Topology, hear: Hear) -> None:
        self._address = address
        self._topology = topology
        self._hear = hear
        self._subscribers: dict[Server, Wire] = {}
        self._publishers: dict[Server, Wire] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pongs: dict[Server, asyncio.Event] = {}
        self._leaving: set[str] = set()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def subscribe(self, channels: Collection[str]) -> None:
        """See `Link`."""
        names = [self._address.prefix + channel for channel in channels]
        events = [self._confirmed.setdefault(name, asyncio.Event()) for name in names]
        for name in names:
            wire = await self._subscriber(self._topology.server_of(name))
            await wire.send("SSUBSCRIBE", name)
        await self._all_of(events)

    async def unsubscribe(self, channels: Collection[str]) -> None:
        """See `Link`."""
        for channel in channels:
            name = self._address.prefix + channel
            self._leaving.add(name)
            wire = await self._subscriber(self._topology.server_of(name))
            await wire.send("SUNSUBSCRIBE", name)

    async def publish(self, hints: Sequence[tuple[str, str]]) -> None:
        """See `Link`."""
        commands: defaultdict[Server, list[tuple[str, ...]]] = defaultdict(list)
        for channel, payload in hints:
            name = self._address.prefix + channel
            commands[self._topology.server_of(name)].append(("SPUBLISH", name, payload))
        for server in commands:
            if server not in self._publishers:
                self._publishers[server] = await Wire.open(self._address, server)
        await asyncio.gather(
            *(self._publishers[server].execute(*each) for server, each in commands.items())
        )

    async def check(self) -> None:
        """See `Link`."""
        self._pongs = {server: asyncio.Event() for server in self._subscribers}
        for server in self._pongs:
            await self._subscribers[server].send("PING")
        await self._all_of(self._pongs.values())

    async def wait_broken(self) -> None:
        """See `Link`."""
        await asyncio.shield(self._broken)

    async def close(self) -> None:
        """See `Link`."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if not self._broken.done():
            self._broken.cancel()
        for wire in (*self._subscribers.values(), *self._publishers.values()):
            await wire.close()

    async def _subscriber(self, server: Server) -> Wire:
        if server not in self._subscribers:
            wire = self._subscribers[server] = await Wire.open(self._address, server)
            self._readers.append(asyncio.create_task(self._read(server, wire)))
        return self._subscribers[server]

    async def _all_of(self, events: Iterable[asyncio.Event]) -> None:
        """Waits for all of them, unless the link breaks."""
        waiting = asyncio.ensure_future(_wait_for(list(events)))
        try:
            both: list[asyncio.Future[None]] = [waiting, self._broken]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self._broken.done():
                self._broken.result()
        finally:
            waiting.cancel()

    async def _read(self, server: Server, wire: Wire) -> None:
        try:
            while True:
                self._take(server, await wire.read())
        except BusDown as error:
            self._break(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, another link is made
            self._break(BusDown(f"an answer of the bus was not understood: {error!r}"))

    def _break(self, error: BusDown) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)
            self._broken.exception()  # whoever waits for nothing else learns of it

    def _take(self, server: Server, answer: Any) -> None:
        kind = b"pong" if answer == b"PONG" else answer[0]
        if kind == b"smessage":
            self._hear(answer[2])
        elif kind == b"ssubscribe":
            self._confirmed.pop(answer[1].decode(), asyncio.Event()).set()
        elif kind == b"pong":
            self._pongs.get(server, asyncio.Event()).set()
        elif kind == b"sunsubscribe":
            name = answer[1].decode()
            if name not in self._leaving:
                raise BusDown("a channel moved to another server")
            self._leaving.discard(name)


async def _wait_for(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


async def _look(address: ValkeyAddress) -> Topology:
    """Finds out which servers carry hints, by asking any of them.

    Raises:
        BusDown: none of them tells.
    """
    failure = BusDown("no server")
    for server in random.sample(address.hosts, len(address.hosts)):
        try:
            wire = await Wire.open(address, server)
            try:
                return await _ask(wire, server)
            finally:
                await wire.close()
        except BusDown as error:
            failure = error
    raise failure


async def _ask(wire: Wire, server: Server) -> Topology:
    [words] = await wire.execute(("HELLO",))
    hello = dict(zip(words[::2], words[1::2], strict=True))
    mode, role = hello.get(b"mode"), hello.get(b"role")
    if mode == b"cluster":
        [slots] = await wire.execute(("CLUSTER", "SLOTS"))
        # A server that does not know its own name leaves it out.
        ranges = [
            (first, last, ((host or b"").decode() or server[0], port))
            for first, last, (host, port, *_), *_ in slots
        ]
        return Topology(ranges)
    if mode == b"sentinel":
        raise BusDown("the server of hints is a sentinel: name the servers that it watches")
    if role != b"master":
        raise BusDown("the server of hints is a replica: name the primary, or all of them")
    return Topology([(0, _SLOTS - 1, server)])
