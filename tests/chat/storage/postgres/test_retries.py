"""An append whose answer is lost, or whose commit has no end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from structlog.testing import capture_logs

from chat.metrics import StoreMetrics
from chat.storage.base import Range, StoreError
from chat.storage.health import State, StoreHealth
from chat.storage.listener import Head
from chat.storage.postgres import appender, reader, writer
from chat.storage.postgres.admission import Admission
from chat.storage.postgres.change_following import ChangeFollowing
from chat.storage.postgres.commit_watch import CommitWatch
from chat.storage.postgres.connections import Admit, Connection
from chat.storage.postgres.epoch import rotate
from chat.storage.postgres.errors import LeftBehind
from chat.storage.postgres.following import Following
from chat.storage.postgres.kept import ReaderPool
from tests.chat.storage.postgres.nodes import Node
from tests.chat.storage.postgres.nodes import node as a_node
from tests.faults.link import Link, Way
from tests.kit.postgres import Postgres
from tests.support import eventually, message, seqs


@asynccontextmanager
async def linked(postgres: Postgres, url: str) -> AsyncIterator[tuple[Link, Node]]:
    """A store whose connections to the database go over a link."""
    async with (
        Link.to(postgres.address) as link,
        a_node(url.replace(postgres.address, link.address)) as node,
    ):
        yield link, node
        link.restore()


async def is_stored(postgres: Postgres, url: str, message_id: str) -> None:
    """Waits until a message is committed."""
    question = "SELECT true FROM chat.messages WHERE id = $1"
    await postgres.until(question, message_id, database=url.rpartition("/")[2])


@pytest.mark.parametrize("is_followed", [True, False])
async def test_lost_answer_is_asked_for_again(
    postgres: Postgres, postgres_url: str, is_followed: bool
) -> None:
    """The commit was made, but nobody heard of it: the very objects are the stored ones."""
    async with linked(postgres, postgres_url) as (link, node):
        await node.store.append([message(key="0")])
        if is_followed:
            await node.store.follow("room")
        sent = [message(key="1"), message("other room", key="2"), message(key="3")]
        sent.append(message(key="1", content="a repeat"))
        with capture_logs() as logs:
            # A silence of seconds is noticed by itself.
            link.halve(Way.BACK)
            future = node.store.append(sent)
            await is_stored(postgres, postgres_url, "3")
            link.cut()
            link.restore()
            results = await future
        assert [each is result for each, result in zip(sent, results, strict=True)] == [
            *(True, True, True, False)
        ]
        assert results[3] == results[0]
        assert [(each.room_id, each.seq) for each in sent[:3]] == [
            *(("room", 2), ("other room", 1), ("room", 3))
        ]
        page = await node.store.history("room", Range(9))
        assert seqs(page.messages) == [1, 2, 3]
        heard = [each for each in node.announced if each.room_id == "room"]
        assert [id(each) for each in heard] == ([id(sent[0]), id(sent[2])] if is_followed else [])
        assert node.metrics.reconnects == 1
        assert "connection to the database lost" in [line["event"] for line in logs]


async def test_others_may_store_the_same_meanwhile(postgres: Postgres, postgres_url: str) -> None:
    """What another node stored first under the same id is what both get back."""
    async with a_node(postgres_url) as other, linked(postgres, postgres_url) as (link, node):
        await node.store.follow("room")
        await node.store.append([message(key="0")])
        link.cut()
        sent = [message(key="1", content="mine"), message(key="2")]
        future = node.store.append(sent)
        [theirs] = await other.store.append([message(key="1", content="theirs")])
        link.restore()
        first, second = await future
        assert (first.content, first.seq) == ("theirs", theirs.seq)
        assert second is sent[1]
        heard = await node.hears(3)
        assert [each.content for each in heard] == ["hello", "theirs", "hello"]
        assert heard[2] is sent[1]


async def test_database_that_stays_away(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs fail after a while, with what is known of them; later ones are stored again."""
    monkeypatch.setattr("chat.storage.postgres.appender.PATIENCE_SECONDS", 0.3)
    async with linked(postgres, postgres_url) as (link, node):
        await node.store.append([message(key="0")])
        with capture_logs() as logs:
            link.halve(Way.BACK)
            in_flight = node.store.append([message(key="1")])
            await is_stored(postgres, postgres_url, "1")
            waiting = node.store.append([message(key="2")])
            link.cut()
            with pytest.raises(StoreError, match="not known whether it was stored"):
                await in_flight
            with pytest.raises(StoreError, match="not stored: "):
                await waiting
            assert node.store.health.state is State.REFUSING
            assert "messages cannot be stored" in node.store.health.reason
            link.restore()
            await eventually(lambda: node.store.health.is_serving)
        assert {line["event"] for line in logs} >= {
            *("store refuses writes", "store takes writes again")
        }
        again = [message(key="1"), message(key="2")]
        results = await node.store.append(again)
        assert seqs(results) == [2, 3]
        assert results[0] is not again[0]
        assert node.store.queued_bytes == 0


async def test_commit_without_standby(
    postgres_programs: None,  # noqa: ARG001 - it runs one
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits, is told, and holds senders back; it is not cut off, but at the end."""
    monkeypatch.setattr("chat.storage.postgres.commit_watch.LONG_SECONDS", 0.2)
    monkeypatch.setattr("chat.storage.postgres.commit_watch._TICK_SECONDS", 0.1)
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(writer, "CLOSE_SECONDS", 0.5)
    async with Postgres.running() as server:
        async with a_node(server.url("postgres")) as node:
            await node.store.follow("room")
            await node.store.append([message(key="0")])
            await server.configure(synchronous_standby_names="nobody")
            with capture_logs():
                in_flight = node.store.append([message(key="1")])
                await eventually(lambda: not node.store.health.is_serving)
                assert "wait for a synchronous standby" in node.store.health.reason
                assert node.metrics.commit_wait_seconds > 0
                with pytest.raises(StoreError, match="does not confirm commits"):
                    await node.store.append([message(key="2")])
                assert await node.store.last_seq("room") == 1
                await server.configure(synchronous_standby_names="")
                [stored] = await in_flight
                assert stored.seq == 2
                assert node.store.health.is_serving
                assert node.metrics.commit_wait_seconds == 0
                await server.configure(synchronous_standby_names="nobody")
                last = node.store.append([message(key="3")])
                await eventually(lambda: not node.store.health.is_serving)
        with pytest.raises(StoreError, match="not known whether it was stored"):
            await last


async def test_server_that_died_without_a_word(
    postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells the node that its connections are gone: another one is asked."""
    monkeypatch.setattr("chat.storage.postgres.commit_watch.LONG_SECONDS", 0.2)
    monkeypatch.setattr("chat.storage.postgres.commit_watch._TICK_SECONDS", 0.1)
    async with linked(postgres, postgres_url) as (link, node):
        await node.store.append([message(key="0")])
        with capture_logs() as logs:
            link.strand()
            await postgres.terminate("datname = $1", postgres_url.rpartition("/")[2])
            [sent] = await node.store.append([message(key="1")])
        assert sent.seq == 2
        assert "has lost the connection of a commit" in "".join(line["event"] for line in logs)


async def test_close_in_peace(postgres_url: str) -> None:
    """Nothing is left to be done: nothing is told, and the health is as it was."""
    with capture_logs() as logs:
        async with a_node(postgres_url) as node:
            await node.store.append([message(key="0")])
    assert [line["event"] for line in logs if line["log_level"] in ("warning", "error")] == []
    assert node.store.health.is_serving


async def test_append_under_another_epoch_is_announced_first(
    postgres: Postgres, postgres_url: str
) -> None:
    """The connection that it waits for finds another history; the hint of it is not needed."""
    async with linked(postgres, postgres_url) as (link, node):
        await node.store.follow("room")
        await node.store.append([message(key="0")])
        before = node.store.epoch
        link.cut()
        sent = [message(key="1"), message(key="2")]
        future = node.store.append(sent)
        async with postgres.connect(postgres_url.rpartition("/")[2]) as connection:
            await rotate(connection)
        with capture_logs():
            link.restore()
            results = await future
        assert node.store.epoch != before
        assert node.renewed == [{"room": Head(1)}]
        assert [id(each) for each in results] == [id(each) for each in sent]
        assert [id(each) for each in node.announced[1:]] == [id(each) for each in sent]


async def test_database_that_lost_its_standby_as_it_started(
    postgres_programs: None,  # noqa: ARG001 - it runs one
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Appends and reads fail in time, no session is left behind for each, and a stop ends."""
    monkeypatch.setattr(reader, "READ_SECONDS", 0.5)
    monkeypatch.setattr(appender, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(writer, "CLOSE_SECONDS", 0.5)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    async with Postgres.running() as server:
        with capture_logs():
            async with a_node(server.url("postgres")) as node:
                await node.store.append([message(key="0")])
                await server.configure(synchronous_standby_names="nobody")
                await server.restart()
                for _ in range(5):
                    with pytest.raises(StoreError):
                        await node.store.append([message(key="1")])
                    with pytest.raises(StoreError):
                        await node.store.last_seq("room")
                # The connection that is to write, and the one over which it is judged.
                [[sessions]] = await server.execute(waiting)
                assert 1 <= sessions <= 2
                last = node.store.append([message(key="2")])
            with pytest.raises(StoreError):
                await last


async def test_writer_goes_on_when_the_standby_confirms(
    postgres_programs: None,  # noqa: ARG001 - it runs one
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over the very connection that waited for it."""
    monkeypatch.setattr(appender, "PATIENCE_SECONDS", 0.3)
    async with Postgres.running() as server:
        with capture_logs():
            async with a_node(server.url("postgres")) as node:
                await node.store.append([message(key="0")])
                await server.configure(synchronous_standby_names="nobody")
                await server.restart()
                with pytest.raises(StoreError):
                    await node.store.append([message(key="1")])
                await server.configure(synchronous_standby_names="")
                await eventually(lambda: node.store.health.is_serving)
                [stored] = await node.store.append([message(key="1")])
                assert stored.seq == 2
                assert await node.store.last_seq("room") == 2


async def test_read_waits_while_the_server_there_is_was_left_behind(postgres_url: str) -> None:
    """An old primary lives on, and the one that took its place is just away."""
    reached: list[LeftBehind] = []

    async def connect() -> Connection:
        if not reached:
            reached.append(LeftBehind("another one was promoted"))
            raise reached[0]
        return await asyncpg.connect(postgres_url)

    pool = ReaderPool(connect, 1)
    following = Following(lambda _: None, lambda _: None)
    metrics = StoreMetrics()

    async def nowhere(_: Admit) -> Connection:
        raise OSError

    admission = Admission(
        following,
        ChangeFollowing(following, lambda _: None, lambda _: None),
        lambda _: None,
        CommitWatch(nowhere, metrics, StoreHealth()),
        metrics,
        on_change=lambda: None,
        on_doubt=lambda: None,
    )
    assert (
        await reader.Reader(pool, admission, "node").run(lambda each: each.fetchval("SELECT 1"))
        == 1
    )
    assert reached
    await pool.close()
