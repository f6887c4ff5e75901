"""Unread streams of clients and proxies: cut off without remains."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from grpclib import Status
from structlog.testing import capture_logs

import chat
import codec
from chat.core.mailbox import Mailbox
from gen.chat import (
    ChatServiceStub,
    ChatStream,
    GetUserRequest,
    Join,
    RelayCommand,
    RelayRequest,
    RelayServiceStub,
    UserStatus,
)
from hosting.grpc.limits import ConnectionLimits
from tests.kit.http2 import Http2Client, prefixed
from tests.support import (
    SMALL_WINDOWS,
    ChatCall,
    RelayCall,
    channel_to,
    eventually,
    message,
    seqs,
    told,
)

MIB = 1 << 20
STUCK = 10
TEXT = "x" * 16_000
CHAT = "/chat.ChatService/Chat"
RELAY = "/chat.RelayService/Relay"


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    """A server that soon drops streams that are not read."""
    limits = ConnectionLimits(stall_seconds=0.5)
    return replace(
        chat_config, connection_limits=limits, database=chat.IN_MEMORY, relay_mailbox_bytes=2 * MIB
    )


class Left:
    """State kept by the server for streams, compared with before."""

    def __init__(self) -> None:
        self._before = self._count()

    def is_nothing(self) -> bool:
        return self._count() == self._before

    @staticmethod
    def _count() -> tuple[int, int]:
        return mailboxes(), len(asyncio.all_tasks())


def mailboxes() -> int:
    gc.collect()
    return sum(isinstance(each, Mailbox) for each in gc.get_objects())


def inactive(stub: ChatServiceStub, user_id: str) -> Callable[[], object]:
    async def is_inactive() -> bool:
        user = (await stub.get_user(GetUserRequest(user_id))).user
        return user.status == UserStatus.INACTIVE

    return is_inactive


async def post_until(stub: ChatServiceStub, done: Callable[[], object], most: int) -> int:
    """Posts to "room" until a condition holds; returns the number of messages."""
    async with ChatCall(stub) as call:
        for number in range(most):
            if number % 20 == 0 and await _value(done()):
                return number
            await call.post(message("room", TEXT))
    raise AssertionError("not cut off")


async def _value(result: object) -> object:
    return await result if asyncio.iscoroutine(result) else result


async def test_unread_streams_are_cut_off(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    """They get the reason, others get everything, and no state is left."""
    async with ChatCall(stub) as quick:
        await quick.enter("room")
        left = Left()
        with capture_logs() as logs:
            async with channel_to(chat_server, SMALL_WINDOWS) as other, AsyncExitStack() as stack:
                calls = [ChatCall(ChatServiceStub(other)) for _ in range(STUCK)]
                for number, call in enumerate(calls):
                    await stack.enter_async_context(call)
                    await call.post(message("room", sender_id=f"stuck {number}"))
                hearing = asyncio.create_task(quick.hear_many(STUCK))
                assert seqs(await hearing) == list(range(1, STUCK + 1))
                reading = asyncio.create_task(read_to(quick, "end"))
                sent = await post_until(stub, lambda: len(told(logs)) == STUCK, 400)
                # Cleaning up does not wait for them to read again.
                await eventually(inactive(stub, "stuck 0"))
                async with ChatCall(ChatServiceStub(other)) as good, ChatCall(stub) as call:
                    assert (await good.post(message("another room"))).seq == 1
                    await call.post(message("room", "end"))
                assert await reading == list(range(STUCK + 1, STUCK + sent + 2))
                for number, call in enumerate(calls):
                    heard, status = await call.rest()
                    assert status is Status.RESOURCE_EXHAUSTED
                    first = number + 2
                    assert seqs(r.chat_message for r in heard) == list(
                        range(first, first + len(heard))
                    )
        for line in told(logs):
            assert line["event"] == "slow consumer cut off"
            assert MIB - len(TEXT) * 2 < line["waiting"] <= MIB
        await eventually(left.is_nothing)


async def read_to(call: ChatCall, content: str) -> list[int]:
    heard = [await call.hear()]
    while heard[-1].content != content:
        heard.append(await call.hear())
    return seqs(heard)


@pytest.mark.parametrize("path", [CHAT, RELAY])
async def test_unread_connection_is_dropped(
    chat_server: chat.RunningServer, stub: ChatServiceStub, path: str
) -> None:
    """The windows are open, but the socket is not read: even the reason cannot be sent."""
    join = Join("room")
    hello = message("room", "hello", sender_id="eve")
    # Of other tests, if somebody holds any.
    others = mailboxes()
    async with ChatCall(stub) as call:
        await call.post(message("room"))
    await eventually(lambda: mailboxes() == others)
    left = Left()
    async with Http2Client.connect(chat_server.host, chat_server.port) as client:
        if path == CHAT:
            request = ChatStream(chat_message=hello)
            data = prefixed(codec.encode(request))
        else:
            commands = [RelayCommand(1, join=join), RelayCommand(2, chat_message=hello)]
            data = prefixed(codec.encode(RelayRequest(commands=commands)))
        client.accept_everything()
        stream = client.request(path, data)
        await client.data(stream)
        await post_until(stub, inactive(stub, "eve"), 2000)
        await eventually(left.is_nothing)


async def test_unread_relay_is_cut_off_and_resumes(
    chat_server: chat.RunningServer, stub: ChatServiceStub
) -> None:
    with capture_logs() as logs:
        async with channel_to(chat_server, SMALL_WINDOWS) as other:
            relay = RelayServiceStub(other)
            async with RelayCall(relay) as stuck:
                stuck.batch(RelayCommand(1, join=Join("room")))
                joined = (await stuck.event()).joined
                await post_until(stub, lambda: len(told(logs)) == 1, 400)
                responses, status = await stuck.rest()
                assert status is Status.RESOURCE_EXHAUSTED
                got = seqs(e.chat_message for r in responses for e in r.events)
                assert got == list(range(1, len(got) + 1))
            async with RelayCall(relay) as again, ChatCall(stub) as call:
                end = await call.post(message("room", "end"))
                position = Join("room", got[-1], joined.epoch)
                again.batch(RelayCommand(2, join=position))
                assert (await again.event()).joined.recovered
                rest = await again.events(end.seq - got[-1])
                assert seqs(e.chat_message for e in rest) == list(range(got[-1] + 1, end.seq + 1))
    [line] = told(logs)
    assert 2 * MIB - 2 * len(TEXT) < line["waiting"] <= 2 * MIB
