"""Hints over every bus: from one node to others, also when the bus fails."""

import asyncio
import sys
from binascii import crc_hqx
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import asyncpg
import orjson
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chat.metrics import StoreMetrics
from chat.storage.base import StoreUnusable
from chat.storage.listener import UserMark, Whisper
from chat.storage.postgres.bus import choose_bus
from chat.storage.postgres.hint_payloads import (
    CHANNELS,
    EVERYBODY,
    PAYLOAD_BYTES,
    Told,
    channel_of,
    payloads,
    read,
)
from chat.storage.postgres.hints import Hints
from chat.storage.postgres.link import BusDown, Connect
from chat.storage.postgres.notify import notify
from chat.storage.postgres.valkey import valkey
from chat.storage.postgres.valkey_address import ValkeyAddress
from gen.chat import Mark, RoomPresence, Typists
from tests.chat.storage.postgres.nodes import be_patient
from tests.kit import PATIENCE_SECONDS
from tests.kit.ports import free_ports
from tests.kit.postgres import Postgres
from tests.kit.valkey import Valkey, cluster
from tests.support import eventually

# Rooms whose channels are spread over all servers of a cluster.
ROOMS = [f"room {number}" for number in range(20)]


class Ear:
    """Hints of one node, and what it heard."""

    def __init__(
        self,
        connect: Connect,
        probe_seconds: float = 60,
        answer_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.heads: dict[str, int] = {}
        self.changes: dict[str, int] = {}
        self.marks: list[UserMark] = []
        self.whispers: list[Whisper] = []
        self.met_nodes: list[str] = []
        self.lost_nodes: list[str] = []
        self.sweeps = 0
        self.metrics = StoreMetrics()
        self.changed = asyncio.Event()
        self.hints = Hints(connect, self, self.metrics, probe_seconds, answer_seconds)

    def hear(self, told: Told) -> None:
        self.heads |= told.heads
        self.changes |= told.changes
        self.marks += told.marks
        self.whispers += told.whispers
        self.changed.set()

    def met(self, node: str) -> None:
        self.met_nodes.append(node)
        self.changed.set()

    def lost(self, node: str) -> None:
        self.lost_nodes.append(node)
        self.changed.set()

    def sweep_soon(self) -> None:
        self.sweeps += 1
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def knows_another(self) -> None:
        """Waits until another node was heard: before, there is nobody to tell anything."""
        await eventually(lambda: self.hints.others)

    async def is_up_again(self, name: str = "") -> None:
        """Waits until there is another link than that of a name."""
        await self.until(lambda: self.hints.is_up and self.hints.name != name)


@asynccontextmanager
async def ear(
    connect: Connect, probe_seconds: float = 60, answer_seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Ear]:
    one = Ear(connect, probe_seconds, answer_seconds)
    one.hints.start()
    try:
        await one.is_up_again()
        yield one
    finally:
        await one.hints.close()


async def tell(speaker: Ear, listener: Ear, heads: Mapping[str, int]) -> None:
    speaker.hints.tell(heads)
    await listener.until(lambda: heads.items() <= listener.heads.items())


@dataclass
class Bus:
    """A bus.

    Attributes:
        connect: makes links to it.
        cut: ends all links, which may be made again.
    """

    connect: Connect
    cut: Callable[[], Awaitable[object]]


def postgres_bus(server: Postgres, url: str) -> Bus:
    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(url, server_settings={"application_name": "hints"})

    return Bus(notify(connect), lambda: server.terminate("application_name = 'hints'"))


def valkey_bus(*servers: Valkey) -> Bus:
    async def cut() -> None:
        for server in servers:
            await server.drop_clients()

    url = "valkey://" + ",".join(server.address for server in servers)
    return Bus(valkey(ValkeyAddress.parse(url)), cut)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture(params=["postgres", "valkey"])
def bus(request: pytest.FixtureRequest) -> Bus:
    if request.param == "valkey":
        return valkey_bus(request.getfixturevalue("valkey"))
    return postgres_bus(
        request.getfixturevalue("postgres"), request.getfixturevalue("postgres_url")
    )


async def test_told_to_others_and_not_to_oneself(bus: Bus) -> None:
    async with ear(bus.connect) as one, ear(bus.connect) as other:
        for room in ROOMS:
            for each in (one, other):
                await each.hints.listen(channel_of(room))
        await tell(one, other, dict.fromkeys(ROOMS, 1))
        await tell(other, one, dict.fromkeys(ROOMS, 2))
        assert one.heads == dict.fromkeys(ROOMS, 2)
        assert other.heads == dict.fromkeys(ROOMS, 1)


async def test_fewer_while_others_append_and_none_is_lost_at_the_end(bus: Bus) -> None:
    async with ear(bus.connect) as one, ear(bus.connect) as other:
        await other.hints.listen(channel_of("room"))
        await one.knows_another()
        for seq in range(1, 9):
            one.hints.tell({"room": seq}, met_others=True)
            await asyncio.sleep(0)
        await other.until(lambda: other.heads == {"room": 8})
        one.hints.tell({"room": 9}, met_others=True)
        await one.hints.close()
        await other.until(lambda: bool(other.lost_nodes))
        assert other.heads == {"room": 9}


async def test_changes_and_marks_are_told(bus: Bus) -> None:
    async with ear(bus.connect) as one, ear(bus.connect) as other:
        await other.hints.listen(channel_of("room"))
        await one.knows_another()
        mark = UserMark("ada", Mark("room", 7, 1))
        one.hints.tell_changes({"room": 5})
        one.hints.tell_marks([UserMark("ada", Mark("room", 6, 1)), mark])
        await other.until(lambda: bool(other.changes and other.marks))
        assert (other.heads, other.changes, other.marks) == ({}, {"room": 5}, [mark])


async def test_whispers_are_told_anew_to_who_was_away(bus: Bus) -> None:
    async with ear(bus.connect) as one:
        one.hints.whisper(RoomPresence("room", 1))  # there is nobody
        async with ear(bus.connect) as other:
            await one.until(lambda: len(one.met_nodes) == 1)
            await other.until(lambda: len(other.met_nodes) == 1)
            for count in (2, 3):
                one.hints.whisper(RoomPresence("room", count))
            # Who types is told to those who follow the room.
            one.hints.whisper(Typists("room", ["ada"]))
            await other.until(lambda: bool(other.whispers))
            names = one.hints.name, other.hints.name
            await bus.cut()
            await one.is_up_again(names[0])
            await other.is_up_again(names[1])
            # Each sees that it was away itself, and that the other was.
            await one.until(lambda: len(one.met_nodes) >= 2)
            await other.until(lambda: len(other.met_nodes) >= 2)
            assert {*map(len, map(set, (one.met_nodes, other.met_nodes)))} == {1}
            await other.hints.listen(channel_of("room"))
            one.hints.whisper(Typists("room", ["ben"]))
            await other.until(lambda: len(other.whispers) == 2)
            assert other.whispers == [RoomPresence("room", 3), Typists("room", ["ben"])]
            assert not one.lost_nodes
        await one.until(lambda: bool(one.lost_nodes))
        assert one.lost_nodes == one.met_nodes[:1]
        assert not one.hints.others


async def test_only_channels_that_are_listened_to(bus: Bus) -> None:
    first, second, third, *_ = {channel_of(room): room for room in ROOMS}.values()
    async with ear(bus.connect) as one, ear(bus.connect) as other:
        for room in (first, second):
            await one.hints.listen(channel_of(room))
        await tell(other, one, {first: 1, second: 1})
        one.hints.ignore(channel_of(first))
        # What comes later is done later.
        await one.hints.listen(channel_of(third))
        other.hints.tell({first: 2})
        await tell(other, one, {second: 2})
        assert one.heads[first] == 1
        await one.hints.listen(channel_of(first))
        await tell(other, one, {first: 3})


async def test_a_link_that_was_cut_is_made_again(bus: Bus) -> None:
    async with ear(bus.connect) as one, ear(bus.connect) as other:
        await one.hints.listen(channel_of("room"))
        await tell(other, one, {"room": 1})
        for head in (2, 3):
            names = one.hints.name, other.hints.name
            await bus.cut()
            await one.is_up_again(names[0])
            await other.is_up_again(names[1])
            await tell(other, one, {"room": head})


async def test_probes_come_back(bus: Bus) -> None:
    async with ear(bus.connect, probe_seconds=0.05) as one:
        heard = {one.hints.heard_at}
        for _ in range(3):
            await eventually(lambda: one.hints.heard_at not in heard)
            heard.add(one.hints.heard_at)
        assert one.hints.is_up
        assert one.metrics.hint_age_seconds < PATIENCE_SECONDS
        assert not one.heads


async def test_nothing_is_told_while_there_is_nobody(bus: Bus) -> None:
    async with ear(bus.connect, probe_seconds=0.05) as one:
        async with ear(bus.connect, probe_seconds=0.05) as other:
            await asyncio.gather(one.knows_another(), other.knows_another())
        await eventually(lambda: not one.hints.tells)
        assert one.lost_nodes == one.met_nodes
        async with ear(bus.connect) as late:
            await late.hints.listen(channel_of("room"))
            await one.knows_another()
            await tell(one, late, {"room": 2})


async def test_what_a_new_node_stored_before_is_looked_for(bus: Bus) -> None:
    async with ear(bus.connect) as one:
        await one.until(lambda: one.sweeps == 1)
        async with ear(bus.connect):
            await one.until(lambda: one.sweeps == 2)


async def test_renewed_on_demand(bus: Bus) -> None:
    async with ear(bus.connect) as one:
        name = one.hints.name
        one.hints.renew()
        await one.is_up_again(name)


@pytest.mark.usefixtures("valkey_program")
async def test_a_bus_that_is_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Valkey.running() as server:
        bus = valkey_bus(server)
        async with ear(bus.connect, probe_seconds=0.05, answer_seconds=1) as one:
            name = one.hints.name
            await server.pause()
            try:
                with monkeypatch.context() as patch, capture_logs() as lines:
                    patch.setattr("chat.storage.postgres.valkey_wire.CONNECT_SECONDS", 0.1)
                    await eventually(lambda: not one.hints.is_up)
                    # Nor does it answer whoever connects: that is told, and tried again.
                    await eventually(lambda: len(lines) >= 2)
                assert "TimeoutError" in lines[1]["why"]
                # Nobody waits for it, nothing is kept for it.
                await one.hints.listen(channel_of("room"))
                one.hints.tell({"room": 1})
            finally:
                await server.resume()
            await one.is_up_again(name)


@pytest.mark.usefixtures("valkey_program")
async def test_a_bus_that_is_not_there_at_first() -> None:
    async with Valkey.running() as server:
        await server.stop()
        one = Ear(valkey_bus(server).connect)
        one.hints.start()
        try:
            await one.hints.listen(channel_of("room"))
            assert not one.hints.is_up
            await server.start()
            await one.is_up_again()
            async with ear(valkey_bus(server).connect) as other:
                await tell(other, one, {"room": 1})
        finally:
            await one.hints.close()


@pytest.mark.usefixtures("valkey_program")
async def test_cluster_whose_slots_move() -> None:
    async with cluster() as servers:
        bus = valkey_bus(*servers)
        async with ear(bus.connect) as one, ear(bus.connect) as other:
            for room in ROOMS:
                await one.hints.listen(channel_of(room))
            await tell(other, one, dict.fromkeys(ROOMS, 1))
            names = one.hints.name, other.hints.name
            await move_channels(servers)
            await one.is_up_again(names[0])
            # Who only publishes learns of it when it does.
            other.hints.tell(dict.fromkeys(ROOMS, 2))
            await other.is_up_again(names[1])
            await tell(other, one, dict.fromkeys(ROOMS, 3))


async def move_channels(servers: list[Valkey]) -> None:
    """Gives the slots of all channels to the first server."""
    name = (await servers[0].command("CLUSTER", "MYID")).split()[1]
    # Else one that had a slot before may claim it back.
    await servers[0].command("CLUSTER", "BUMPEPOCH")
    for channel in range(CHANNELS):
        slot = str(crc_hqx(f"chat:{channel:02}".encode(), 0) % 16384)
        for server in servers:
            await server.command("CLUSTER", "SETSLOT", slot, "NODE", name)


async def reason(url: str, password_file: str = "") -> str:
    """Why a link can't be made."""
    with pytest.raises(BusDown) as caught:
        await valkey(ValkeyAddress.parse(url, password_file))(lambda _: None)
    return str(caught.value)


@pytest.mark.usefixtures("valkey_program")
async def test_reasons_for_no_link(tmp_path: Path) -> None:
    async with Valkey.running("--requirepass", "secret") as server:
        for wrong in (server.url, f"valkey://:wrong@{server.address}"):
            why = await reason(wrong)
            assert "secret" not in why
            assert "wrong" not in why
            assert "password" in why.lower() or "authentication" in why.lower()
        async with ear(valkey(ValkeyAddress.parse(f"valkey://:secret@{server.address}"))):
            pass
        file = tmp_path / "password"
        assert f"No such file or directory: '{file}'" in await reason(server.url, str(file))
        file.write_text("\n")
        assert "there is no password in" in await reason(server.url, str(file))
        file.write_text("secret\n")
        async with ear(valkey(ValkeyAddress.parse(server.url, str(file)))):
            pass
        await server.stop()
        assert server.address.partition(":")[0] in await reason(server.url)


@pytest.mark.usefixtures("valkey_program")
async def test_replicas_are_passed_over() -> None:
    async with Valkey.running() as primary, Valkey.running() as replica:
        await replica.command("REPLICAOF", "127.0.0.1", str(primary.port))
        assert "is a replica" in await reason(replica.url)
        async with ear(valkey_bus(replica, primary).connect):
            pass


@pytest.mark.usefixtures("valkey_program")
async def test_a_server_without_sharded_subscriptions() -> None:
    # As one of an older version, which does not know the command.
    async with Valkey.running("--rename-command", "SSUBSCRIBE", "") as server:
        link = await valkey(ValkeyAddress.parse(server.url))(lambda _: None)
        try:
            with pytest.raises(BusDown, match="Redis 7 or later"):
                await link.subscribe(["1"])
        finally:
            await link.close()


@pytest.mark.usefixtures("valkey_program")
async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    [port] = free_ports(1)
    options = {
        "--tls-port": str(port),
        "--tls-cert-file": str(tmp_path / "server.pem"),
        "--tls-key-file": str(tmp_path / "server.pem"),
        "--tls-ca-cert-file": str(tmp_path / "ca.pem"),
        "--tls-auth-clients": "no",
    }
    async with Valkey.running(*chain.from_iterable(options.items())):
        url = f"valkeys://127.0.0.1:{port}"
        async with ear(valkey(ValkeyAddress.parse(f"{url}?ca={tmp_path / 'ca.pem'}"))):
            pass
        # Its CA is none of the system's.
        assert "certificate" in (await reason(url)).lower()
        assert "No such file" in await reason(f"{url}?ca={tmp_path / 'missing.pem'}")


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chat.storage.postgres.valkey", None)
    with pytest.raises(StoreUnusable, match=r"asyncio-grpc-chat\[valkey\]"):
        choose_bus(ValkeyAddress.parse("valkey://host"), asyncpg.connect)


@pytest.mark.parametrize(
    "url",
    [
        "valkey://",
        "valkey://:6379",
        "valkey://host:0",
        "valkey://host:70000",
        "valkey://host:port",
        "valkey://a@b@host",
        "valkey://host?ca=file",
        "valkeys://host?other=1",
        "valkey://host,",
        "valkey://host#x",
        "http://host",
        "valkey://[::1",
    ],
)
def test_malformed_urls(url: str) -> None:
    with pytest.raises(StoreUnusable, match="URL of hints is malformed"):
        ValkeyAddress.parse(url)


def test_url() -> None:
    address = ValkeyAddress.parse("rediss://ada:s%40cret@one,two:1234,[::1]:5/name?ca=file.pem")
    assert address.hosts == (("one", 6379), ("two", 1234), ("::1", 5))
    assert (address.user, address.password()) == ("ada", "s@cret")
    assert (address.prefix, address.has_tls, address.authorities) == (
        "chat:name:",
        True,
        "file.pem",
    )
    assert "s@cret" not in repr(address)
    with pytest.raises(StoreUnusable, match="in their URL and in a file, too"):
        ValkeyAddress.parse("valkey://:s@host", "file")


heads = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=70), st.integers(1, 2**32 - 1)
)


marks = st.lists(
    st.builds(
        lambda user_id, room_id, seq: UserMark(user_id, Mark(room_id, seq, 100)),
        *[st.text(st.characters(codec="utf-8"), max_size=70)] * 2,
        st.integers(0, 2**32 - 1),
    )
)


@given(heads, heads, marks)
def test_payloads_tell_all(
    heads: Mapping[str, int], changes: Mapping[str, int], marks: Sequence[UserMark]
) -> None:
    found: dict[str, int] = {}
    changed: dict[str, int] = {}
    read_marks: list[UserMark] = []
    for channel, payload in payloads(Told("node", heads, changes, marks)):
        assert len(payload.encode()) <= PAYLOAD_BYTES
        part = read(payload)
        assert part.node == "node"
        rooms = {*part.heads, *part.changes, *(each.mark.room_id for each in part.marks)}
        assert all(channel_of(room_id) == channel for room_id in rooms)
        # Nodes of before know the form that tells of messages alone.
        assert not part.heads or len(orjson.loads(payload)) == 2
        found |= part.heads
        changed |= part.changes
        read_marks += part.marks
    assert (found, changed) == (heads, changes)
    assert sorted(map(repr, read_marks)) == sorted(map(repr, marks))


def test_many_heads_are_several_payloads() -> None:
    heads = {f"{number:060}": 2**32 - 1 for number in range(10_000)}
    hints = list(payloads(Told("node", heads)))
    assert len(hints) >= 100
    assert all(len(payload) < PAYLOAD_BYTES for _, payload in hints)
    assert len({channel for channel, _ in hints}) == CHANNELS


def test_hints_of_many_channels_go_to_everybody() -> None:
    heads = dict.fromkeys(ROOMS, 1)
    [(channel, payload)] = payloads(Told("node", heads), most_channels=8)
    assert channel == EVERYBODY
    assert read(payload) == Told("node", heads, {}, [], [])
    assert EVERYBODY not in dict(payloads(Told("node", {"room": 1}), most_channels=8))


def test_a_room_that_fits_into_no_payload_is_left_out() -> None:
    heads = {"x" * 2 * PAYLOAD_BYTES: 1, "room": 1}
    assert [read(payload)[1] for _, payload in payloads(Told("node", heads))] == [{"room": 1}]


@pytest.mark.parametrize(
    "payload",
    ["", "{", "[]", "1", '["node"]', '["node",1]', '["node",{"room":"1"}]', '["node",{"room":1.5}]',
     '["node",{"room":-1}]', '["node",{"room":4294967296}]', '[1,{"room":1}]', b"\xff", "[[],[]]",
     '["node",{},{"room":-1},[]]', '["node",{},{}]', '["node",{},[],[]]', '["node",{},{},{"a":1}]',
     '["node",{},{},[["ada","room",1]]]', '["node",{},{},[["ada",1,1,0]]]',
     '["node",{},{},[["ada","room",-1,0]]]', '["node",{},{},[["ada","room",1,"0"]]]'],
)  # fmt: skip
def test_what_is_no_hint_tells_nothing(payload: str | bytes) -> None:
    assert read(payload) == Told()
