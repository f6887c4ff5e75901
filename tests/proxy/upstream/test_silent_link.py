"""A link to the server that died silently: noticed, replaced, and nothing lost."""

from dataclasses import replace

import pytest

import chat
import proxy
from gen.chat import ChatServiceStub, GetUserRequest, UserStatus
from hosting.grpc.limits import ConnectionLimits
from tests.faults.link import Link
from tests.proxy.pauses import HOLD_SECONDS, check_unavailable
from tests.proxy.web_client import connect, joined, message, seqs, serve_http
from tests.support import eventually

HEARTBEAT_SECONDS = 0.6


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    limits = ConnectionLimits(heartbeat_seconds=HEARTBEAT_SECONDS)
    return replace(chat_config, connection_limits=limits)


def over(link: Link) -> proxy.Config:
    """A proxy over this link that soon notices silence."""
    return proxy.Config(
        upstream=link.address,
        upstream_heartbeat_seconds=HEARTBEAT_SECONDS,
        hold_seconds=HOLD_SECONDS,
    )


def test_default_bridges_30_silent_seconds() -> None:
    """The silence is noticed earlier, and sends are held past its end."""
    config = proxy.Config()
    noticed_after = config.upstream_heartbeat_seconds * 1.5
    assert noticed_after < 30 < noticed_after + config.hold_seconds


async def test_mute_connection_is_abandoned(chat_server: chat.RunningServer) -> None:
    """Each attempt uses a new connection: the last one may be dead."""
    async with Link.to(chat_server.address) as link:
        config = replace(over(link), hold_seconds=HEARTBEAT_SECONDS)
        async with serve_http(config) as http:
            client = await joined(http, "lobby")
            link.drop()
            await client.send(chat_message=message("lobby", id="held"), request_id="held")
            answer = await client.receive()
            assert answer["request_id"] == "held"
            check_unavailable(answer)
            await eventually(lambda: link.accepted > 3)
            link.restore()
            while "error" in (answer := await client.ask(chat_message=message("lobby", id="held"))):
                pass
            assert seqs([answer]) == [1]
            assert await client.barrier() == []


async def test_silent_proxy_users_become_inactive(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    async def inactive() -> bool:
        user = (await stub.get_user(GetUserRequest("ada"))).user
        return user.status == UserStatus.INACTIVE

    async with Link.to(chat_server.address) as link, serve_http(over(link)) as http:
        client = await connect(http)
        await client.say("lobby", "hello")
        await client.receive()
        assert not await inactive()
        link.sever()
        await eventually(inactive)
        link.restore()
        answer = await client.ask(chat_message=message("lobby"))
        assert seqs([answer]) == [2]
        assert not await inactive()
        # The server had to find out by itself about the stranded one.
        link.strand()
        await eventually(lambda: link.accepted > 2)
        await client.socket.close()
        await eventually(inactive)
