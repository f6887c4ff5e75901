"""A second SIGTERM ends a delayed stop at once; for the pair, see `test_pair`."""

import signal
from pathlib import Path
from urllib.parse import urlsplit

import codec
from gen.chat import ChatStream, Join
from hosting.addresses import split_address
from tests.faults.stuck import UNREAD_BYTES, fill, stuck_reader
from tests.faults.world import World
from tests.kit.http2 import Http2Client, prefixed
from tests.kit.processes import not_listening

_PATIENT = ("--drain-seconds", "1000", "--mailbox-bytes", str(UNREAD_BYTES))
_AT_ONCE = 128 + signal.SIGTERM


async def test_second_sigterm_ends_proxy(tmp_path: Path) -> None:
    async with World.running(tmp_path, *_PATIENT) as world, stuck_reader(world.url):
        world.proxy.send(signal.SIGTERM)
        await not_listening(urlsplit(world.url).port or 0)
        world.proxy.send(signal.SIGTERM)
        assert await world.proxy.ended() == _AT_ONCE


async def test_second_sigterm_ends_server(tmp_path: Path) -> None:
    async with World.running(tmp_path, chat_options=_PATIENT) as world:
        host, port = split_address(world.chat_address)
        async with Http2Client.connect(host, port) as stuck:
            stuck.accept_everything()
            joining = prefixed(codec.encode(ChatStream(join=Join("lobby"))))
            await stuck.data(stuck.request("/chat.ChatService/Chat", joining))
            await fill(world.url)
            world.chat.send(signal.SIGTERM)
            await not_listening(port)
            world.chat.send(signal.SIGTERM)
            assert await world.chat.ended() == _AT_ONCE
