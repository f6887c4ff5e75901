"""Nodes on one database hear of each other's messages, whatever fails meanwhile."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError
from chat.storage.listener import Head, Listener
from chat.storage.postgres.change_following import ChangeFollowing
from chat.storage.postgres.connections import Connection
from chat.storage.postgres.follower import Follower
from chat.storage.postgres.following import Following
from chat.storage.postgres.hint_payloads import Told
from chat.storage.postgres.hints import Hints
from chat.storage.postgres.kept import ReaderPool
from chat.storage.postgres.link import BusDown, Hear, Link
from chat.storage.postgres.tails import Run, TailReader
from gen.chat import ChatMessage, RoomPresence, Typists
from tests.chat.storage.postgres.nodes import NEVER, Node, be_patient, node
from tests.kit import PATIENCE_SECONDS
from tests.kit.ports import free_ports
from tests.kit.postgres import Postgres
from tests.kit.valkey import Valkey
from tests.support import eventually, message, seqs

# In the statement that reads what others stored, and in no other.
_FETCHES = "messages.room = rooms.room AND seq > position"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@asynccontextmanager
async def pair(
    url: str, *, hints: str = "", sweep_seconds: float = NEVER
) -> AsyncIterator[list[Node]]:
    """Two nodes."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(node(url, hints=hints, sweep_seconds=sweep_seconds))
            for _ in range(2)
        ]


@pytest.fixture(params=["postgres", "valkey"])
def hints(request: pytest.FixtureRequest) -> str:
    """As the setting."""
    if request.param == "postgres":
        return ""
    valkey: Valkey = request.getfixturevalue("valkey")
    return valkey.url


@pytest.fixture
def no_bus() -> str:
    """As the setting: a bus that is not there."""
    [port] = free_ports(1)
    return f"valkey://127.0.0.1:{port}"


async def test_messages_of_another_node(postgres_url: str, hints: str) -> None:
    async with pair(postgres_url, hints=hints) as (one, other):
        # Whoever meets another one sweeps: that is over before there is a room.
        await one.meets()
        assert await one.store.follow("room") == Head()
        await other.send(3)
        await one.hears(3)
        assert not other.announced
        await one.send()
        await one.hears(4)
        assert one.metrics.sweep_found == 0
        assert one.metrics.followed_rooms == 1
        assert sum(one.metrics.follow_lag_seconds.counts) == 3
        assert sum(other.metrics.follow_lag_seconds.counts) == 0


async def test_whispers_of_another_node(postgres_url: str, hints: str) -> None:
    async with pair(postgres_url, hints=hints) as (one, other):
        await one.store.follow("room")
        [name], [_] = await one.meets(), await other.meets()
        # To a room that is followed, to one that is not; and what all are told, in the end.
        other.store.whisper(Typists("room", ["ada"], 0, 6000))
        other.store.whisper(Typists("other", ["ada"], 0, 6000))
        other.store.whisper(RoomPresence("other", 1, ["ada"]))
        other.store.whisper(RoomPresence("other", 2, ["ada", "ben"]))
        assert await one.hears_whispers(2) == [
            (name, Typists("room", ["ada"], 0, 6000)),
            (name, RoomPresence("other", 2, ["ada", "ben"])),
        ]
        await other.store.close()
        await one.loses(name)
        assert not other.whispered


async def test_both_write_into_one_room(postgres_url: str, hints: str) -> None:
    async with pair(postgres_url, hints=hints) as nodes:
        for each in nodes:
            await each.store.follow("room")
        sent = await asyncio.gather(*(each.send(300) for each in nodes))
        for each, own in zip(nodes, sent, strict=True):
            heard = await each.hears(600)
            # The very objects, whose senders wait for them.
            assert {id(message) for message in own} <= {id(message) for message in heard}


async def test_a_room_that_nobody_follows_costs_nothing(
    postgres: Postgres, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    await postgres.execute(f"ALTER DATABASE \"{name}\" SET log_statement = 'all'")
    reads = postgres.log.count(_FETCHES)
    async with pair(postgres_url) as (one, other):
        await one.store.follow("other room")
        for _ in range(5):
            await other.send(20)
        # What is told of this one comes behind all that is told of the others.
        await other.send(1, "other room")
        await one.hears(1, "other room")
        assert postgres.log.count(_FETCHES) == reads + 1


async def test_rooms_left_and_followed_while_others_write(postgres_url: str, hints: str) -> None:
    async with pair(postgres_url, hints=hints) as (one, other):
        chance = random.Random(7)  # noqa: S311 - no secret
        positions: list[int] = []

        async def come_and_go() -> None:
            for _ in range(60):
                if chance.random() < 0.5:
                    one.store.unfollow("room")
                position, again = await asyncio.gather(
                    one.store.follow("room"), one.store.follow("room")
                )
                assert position == again
                positions.append(position.seq)
                await asyncio.sleep(chance.random() * 0.005)

        async def write() -> None:
            for _ in range(40):
                await other.send(3)

        await asyncio.gather(come_and_go(), write())
        assert (await one.store.follow("room")).seq >= positions[-1]
        await other.send()
        head = await other.store.last_seq("room")
        await one.store.catch_up("room")
        heard = seqs(one.announced)
        # Each once, in order; none is missing since it was followed for good.
        assert heard == sorted(set(heard))
        assert {*range(positions[-1] + 1, head + 1)} <= set(heard)


async def test_a_cancelled_follow_hurts_no_other(postgres_url: str) -> None:
    async with pair(postgres_url) as (one, other):
        await other.send()
        first, second = (asyncio.create_task(one.store.follow("room")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == Head(1)
        await other.send()
        await one.hears(1)


async def test_sweeps_find_what_no_hint_told(postgres_url: str, no_bus: str) -> None:
    async with pair(postgres_url, hints=no_bus, sweep_seconds=0.05) as (one, other):
        assert await one.store.follow("room") == Head()
        await other.send(5)
        await one.hears(5)
        assert one.metrics.sweep_found == 5
        assert sum(one.metrics.sweep_seconds.counts) > 0


async def test_a_dead_bus_delays_no_append(postgres_url: str, no_bus: str) -> None:
    async with node(postgres_url, "room", hints=no_bus) as one:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await one.send(200)
        await one.hears(200)


async def test_what_was_missed_is_looked_for_when_the_listener_is_back(
    postgres: Postgres, postgres_url: str
) -> None:
    async with pair(postgres_url) as (one, other):
        await one.store.follow("room")
        stored = 0
        for _ in range(3):
            await other.send()
            cut = "datname = $1 AND query ~* '(LISTEN|pg_notify)'"
            await asyncio.gather(
                postgres.terminate(cut, postgres_url.rpartition("/")[2]), other.send(5)
            )
            stored += 6
            await one.hears(stored)


async def test_a_pause_is_caught_up_page_by_page(postgres_url: str, no_bus: str) -> None:
    async with pair(postgres_url, hints=no_bus) as (one, other):
        rooms = [f"room {number}" for number in range(3)]
        for room in rooms:
            await one.store.follow(room)
        text = "x" * 20_000
        for room in rooms:
            sent = [message(room, text, key=f"{nth}") for nth in range(60)]
            await other.store.append(sent)
        await asyncio.gather(*map(one.store.catch_up, rooms))
        assert max(one.sizes) <= 300_000
        for room in rooms:
            await one.hears(60, room)


async def test_history_that_is_missing_begins_another_one(
    postgres: Postgres, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    async with pair(postgres_url, sweep_seconds=0.05) as (one, other):
        await one.store.follow("room")
        await other.store.follow("room")
        await one.send(3)
        await other.hears(3)
        epoch = one.store.epoch
        await postgres.execute("DELETE FROM chat.messages WHERE seq = 3", database=name)
        await postgres.execute("UPDATE chat.rooms SET head = 2", database=name)
        assert await one.is_renewed() == {"room": Head(2)}
        assert await other.is_renewed() == {"room": Head(2)}
        assert epoch != one.store.epoch == other.store.epoch
        # Both noticed it, perhaps: that is one reason, and one new history.
        assert [each.metrics.epoch_changes for each in (one, other)] == [1, 1]
        await other.send()
        # Once in each history.
        await eventually(lambda: seqs(one.announced)[-2:] == [3, 3])


async def test_another_epoch_is_noticed_before_its_messages_are_told(
    postgres: Postgres, postgres_url: str
) -> None:
    async with pair(postgres_url) as (one, other):
        await one.store.follow("room")
        await other.send(2)
        await one.hears(2)
        await postgres.execute(
            "UPDATE chat.meta SET value = 'another' WHERE key = 'epoch'",
            database=postgres_url.rpartition("/")[2],
        )
        one.listen = lambda _: epochs.append(one.store.epoch)
        epochs: list[str] = []
        await other.send(2)
        heads = await one.is_renewed()
        assert one.store.epoch == "another"
        await other.send(2)
        await one.store.catch_up("room")
        assert seqs(one.announced) == [1, 2, *range(heads["room"].seq + 1, 7)]
        assert set(epochs) == {"another"}


async def test_hints_delayed_doubled_and_out_of_order(postgres_url: str, no_bus: str) -> None:
    chance = random.Random(11)  # noqa: S311 - no secret
    async with node(postgres_url, hints=no_bus) as other, lonely(postgres_url) as one:
        await one.follower.follow("room")
        hints: list[int] = []
        for _ in range(50):
            [sent] = await other.send()
            hints += [sent.seq] * chance.choice([0, 1, 2])
            chance.shuffle(hints)
            while hints and chance.random() < 0.6:
                one.follower.hear(Told("another", {"room": hints.pop(), "unknown": 5}))
        one.follower.hear(Told("another", {"room": 50}))
        await one.follower.catch_up("room")
        assert one.heard == list(range(1, 51))


async def test_what_a_fetch_failed_to_bring_is_fetched_again(
    postgres_url: str, no_bus: str
) -> None:
    async with node(postgres_url, hints=no_bus) as other, lonely(postgres_url) as one:
        await one.follower.follow("room")
        await other.send(3)
        one.epoch = "another"
        one.follower.hear(Told("another", {"room": 3}))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await one.asked.wait()
        assert not one.heard
        # From now on it works under the epoch of what is read.
        one.epoch = other.store.epoch
        async with asyncio.timeout(PATIENCE_SECONDS):
            await one.announced.wait()
        assert one.heard == [1, 2, 3]
        # Whoever is to be followed under another epoch than is read is not.
        one.epoch = "another"
        with pytest.raises(StoreError, match="another one"):
            await one.follower.follow("other room")


class Lonely:
    """A follower whose bus is the test.

    Attributes:
        epoch: the one that it works under.
        asked: set when it read another one.
        heard: the positions that it announced.
        announced: set when it announced any.
    """

    def __init__(self, epoch: str, pool: ReaderPool) -> None:
        self.epoch = epoch
        self.asked = asyncio.Event()
        self.heard: list[int] = []
        self.announced = asyncio.Event()
        following = Following(self._announce, lambda _: None)
        self.follower = Follower(
            following,
            ChangeFollowing(following, lambda _: None, lambda _: None),
            TailReader(reads(pool)),
            StoreMetrics(),
            listener=Listener(),
            epoch=lambda: self.epoch,
            on_other_epoch=self._ask,
            sweep_seconds=NEVER,
        )

    def _announce(self, messages: Sequence[ChatMessage]) -> None:
        self.heard += seqs(messages)
        self.announced.set()

    def _ask(self) -> None:
        self.asked.set()


@asynccontextmanager
async def lonely(url: str) -> AsyncIterator[Lonely]:
    pool = ReaderPool(lambda: connect(url))
    [epoch] = await run(pool, "SELECT value FROM chat.meta WHERE key = 'epoch'")
    one = Lonely(epoch, pool)
    hints = Hints(no_link, one.follower, StoreMetrics(), NEVER)
    one.follower.start(hints)
    hints.start()
    try:
        yield one
    finally:
        await hints.close()
        await one.follower.close()
        await pool.close()


def reads(pool: ReaderPool) -> Run:
    async def run(read: Callable[[Connection], Awaitable[asyncpg.Record]]) -> asyncpg.Record:
        async with pool.connection() as connection:
            return await read(connection)

    return run


async def connect(url: str) -> Connection:
    return await asyncpg.connect(url)


async def run(pool: ReaderPool, statement: str) -> list[str]:
    async with pool.connection() as connection:
        return [row[0] for row in await connection.fetch(statement)]


async def no_link(_: Hear) -> Link:
    raise BusDown("there is none")
