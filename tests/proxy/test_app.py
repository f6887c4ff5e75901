"""Starting and stopping a proxy: regressions."""

from __future__ import annotations

import asyncio
import socket

import aiohttp

import chat
import proxy
from proxy.core.outbox import Outbox
from proxy.core.switchboard import Switchboard
from proxy.upstream.link import Link


def can_listen(address: str) -> bool:
    """Whether this machine has the address: IPv6 may be missing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, 0), family=family).close()
    except OSError:
        return False
    return True


async def test_host_addresses_share_one_port(chat_server: chat.RunningServer) -> None:
    found = await asyncio.get_running_loop().getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    addresses = {str(address[0]) for *_, address in found}
    config = proxy.Config(host="localhost", port=0, upstream=chat_server.address)
    async with proxy.serve(config) as running, aiohttp.ClientSession() as session:
        for address in filter(can_listen, addresses):
            host = f"[{address}]" if ":" in address else address
            async with session.get(f"http://{host}:{running.port}/healthz") as response:
                assert response.status == 200


async def test_stop_outlives_lost_link(chat_server: chat.RunningServer) -> None:
    config = proxy.Config(upstream=chat_server.address)
    link = Link(config, Switchboard(config, Outbox()))
    running = asyncio.create_task(link.run())
    while not await link.is_ready():
        assert not running.done()
        await asyncio.sleep(0)
    protocol = link._channel._protocol  # noqa: SLF001 - both must happen in one turn
    assert protocol is not None
    protocol.processor.close("the link is lost")
    running.cancel()
    stopped, _ = await asyncio.wait({running}, timeout=10)
    running.cancel()
    assert stopped, "the cancellation was lost"
    assert running.cancelled()
