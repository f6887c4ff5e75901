"""A proxy that stops reading for a while: the server's memory is bounded, and it resumes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

import chat
import proxy
from gen.chat import ChatServiceStub
from tests.faults.link import Link
from tests.proxy.web_client import joined, seqs, serve_http
from tests.support import ChatCall, told
from tests.support import message as post

MIB = 1 << 20
# More than the mailbox, and the buffers of the system.
AT_MOST = 2000
TEXT = "x" * 16_000


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    """A server with small mailboxes for proxies."""
    return replace(chat_config, database=chat.IN_MEMORY, relay_mailbox_bytes=MIB)


@pytest.fixture
async def link(chat_server: chat.RunningServer) -> AsyncIterator[Link]:
    async with Link.to(chat_server.address) as link:
        yield link


async def test_stuck_proxy_is_cut_and_resumes(link: Link, stub: ChatServiceStub) -> None:
    async with serve_http(proxy.Config(upstream=link.address)) as http:
        readers = [await joined(http, "lobby") for _ in range(3)]
        reading = [asyncio.create_task(each.take_until_content("end")) for each in readers]
        link.drop()
        with capture_logs() as logs:
            async with ChatCall(stub) as sender:
                for _ in range(AT_MOST):
                    await sender.post(post("lobby", TEXT))
                    if told(logs):
                        break
                # Nothing more is kept for it: the mailbox was emptied.
                [cut_off] = told(logs)
                assert cut_off["event"] == "slow consumer cut off"
                assert MIB - 2 * len(TEXT) < cut_off["waiting"] <= MIB
                link.restore()
                end = await sender.post(post("lobby", "end"))
            for each in await asyncio.gather(*reading):
                assert seqs(each) == list(range(1, end.seq + 1))
