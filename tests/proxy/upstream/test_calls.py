"""Unary calls on a lost link: each is repeated on the next one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import betterproto
import pytest

import chat
from gen.chat import ListUsersRequest, ListUsersResponse
from proxy import Config
from proxy.core.call_table import calls_of_schema
from proxy.core.outbox import Outbox
from proxy.core.switchboard import Switchboard
from proxy.upstream.link import Link as Upstream
from tests.faults.link import Link
from tests.support import eventually

# One of them is the link's own.
STREAMS = 2
CALLS = 5


@pytest.fixture
def chat_config(tmp_path: Path) -> chat.Config:
    limits = chat.ConnectionLimits(streams_per_connection=STREAMS)
    database = str(tmp_path / "chat.db")
    return chat.Config(host="127.0.0.1", port=0, database=database, connection_limits=limits)


@pytest.fixture
async def link(chat_server: chat.RunningServer) -> AsyncIterator[Link]:
    async with Link.to(chat_server.address) as link:
        yield link


@pytest.fixture
async def upstream(link: Link) -> AsyncIterator[Upstream]:
    config = Config(upstream=link.address)
    upstream = Upstream(config, Switchboard(config, Outbox()))
    running = asyncio.create_task(upstream.run())
    await eventually(lambda: upstream.linked)
    yield upstream
    running.cancel()
    await asyncio.wait({running})


def asked(upstream: Upstream) -> asyncio.Task[betterproto.Message]:
    call = calls_of_schema()["list_users"]
    return asyncio.create_task(upstream.calls.make(call, ListUsersRequest()))


async def begun() -> None:
    """Runs calls as far as they get without an answer: some turns of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_waiting_calls_move_to_next_link(link: Link, upstream: Upstream) -> None:
    """Grpclib reports a lost connection only to calls that have a stream."""
    link.drop()
    tasks = [asked(upstream) for _ in range(CALLS)]
    await begun()
    link.cut()
    await eventually(lambda: not upstream.linked)
    link.restore()
    answers = await asyncio.gather(*tasks)
    assert answers == [ListUsersResponse()] * CALLS


async def test_lost_link_leaves_no_cancellation(link: Link, upstream: Upstream) -> None:
    """Grpclib cancels the waiting task, and does not take that back."""

    async def ask() -> int:
        await asked_by_itself()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    async def asked_by_itself() -> None:
        await upstream.calls.make(calls_of_schema()["list_users"], ListUsersRequest())

    link.drop()
    task = asyncio.create_task(ask())
    await begun()
    link.cut()
    await eventually(lambda: not upstream.linked)
    link.restore()
    assert await task == 0


async def test_cancelled_call_ends_with_link(link: Link, upstream: Upstream) -> None:
    link.drop()
    task = asked(upstream)
    await begun()
    link.cut()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
