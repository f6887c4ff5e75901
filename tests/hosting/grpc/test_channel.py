"""Immediate writes to a stream: all of a message, or nothing of it."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from grpclib.client import Stream
from grpclib.const import Cardinality
from grpclib.exceptions import ProtocolError, StreamTerminatedError

import chat
import codec
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    ChatServiceStub,
    Join,
    RelayCommand,
    RelayEvent,
    RelayRequest,
    RelayResponse,
)
from hosting.grpc.channel import Channel, StreamWriter

Relay = Stream[RelayRequest, RelayResponse]


@pytest.fixture
async def channel(chat_server: chat.RunningServer) -> AsyncIterator[Channel]:
    """A channel as the proxy opens it."""
    channel = Channel(chat_server.host, chat_server.port, codec=codec.GrpcCodec())
    yield channel
    channel.close()


@pytest.fixture
async def relay(channel: Channel) -> AsyncIterator[Relay]:
    """An open stream to a real server."""
    kinds = Cardinality.STREAM_STREAM, RelayRequest, RelayResponse
    async with channel.request("/chat.RelayService/Relay", *kinds) as stream:
        await stream.send_request()
        await stream.recv_initial_metadata()
        yield stream
        # Some tests have ended it.
        with suppress(StreamTerminatedError, ProtocolError):
            await stream.cancel()


def batch(*commands: RelayCommand) -> bytes:
    return codec.encode(RelayRequest(commands=list(commands)))


def join(ref: int, room_id: str = "lobby") -> bytes:
    return batch(RelayCommand(ref=ref, join=Join(room_id)))


def say(content: str) -> bytes:
    said = ChatMessage(room_id="lobby", sender_id="ada", content=content)
    return batch(RelayCommand(ref=1, chat_message=said))


async def answers(relay: Relay, number: int) -> list[RelayEvent]:
    events: list[RelayEvent] = []
    while len(events) < number:
        response = await relay.recv_message()
        assert response is not None
        events += response.events
    return events


async def test_writes_keep_their_order(
    relay: Relay,
) -> None:
    wire = StreamWriter(relay)
    for ref in range(1, 21, 2):
        assert wire.write_now(join(ref))
        await relay.send_message(join(ref + 1))  # type: ignore[arg-type]  # encoded already
    assert [event.ref for event in await answers(relay, 20)] == list(range(1, 21))


async def test_large_message_is_left_to_grpclib(relay: Relay) -> None:
    wire = StreamWriter(relay)
    large = say("x" * 16_384)
    assert not wire.write_now(large)
    await relay.send_message(large)  # type: ignore[arg-type]  # encoded already
    assert wire.write_now(join(2, "attic"))
    by_ref = {event.ref: event for event in await answers(relay, 2)}
    assert by_ref[1].chat_message.seq == 1
    assert by_ref[2].joined.room_id == "attic"


async def test_closed_window_is_left_to_grpclib(relay: Relay) -> None:
    """Many messages in one turn of the loop, in which no window is opened again."""
    wire = StreamWriter(relay)
    message, written = say("x" * 16_000), 0
    while wire.write_now(message):
        written += 1
    # As much as the stream's window (256 KiB at the server) or the socket takes.
    assert 0 < written <= 256 * 1024 // (len(message) + 5)
    await relay.send_message(join(2, "attic"))  # type: ignore[arg-type]  # encoded already
    refs = [event.ref for event in await answers(relay, written + 1)]
    assert sorted(refs) == [1] * written + [2]


async def test_ended_stream_is_not_written_to(relay: Relay) -> None:
    wire = StreamWriter(relay)
    await relay.cancel()
    assert not wire.write_now(join(1))


async def test_closed_connection_is_not_written_to(relay: Relay, channel: Channel) -> None:
    wire = StreamWriter(relay)
    channel.close()
    assert not wire.write_now(join(1))


async def test_what_was_sent_just_before_an_abort_is_not_begun(
    relay: Relay, channel: Channel, stub: ChatServiceStub
) -> None:
    """As of a server that was paused meanwhile: it reads both at once."""
    wire = StreamWriter(relay)
    assert wire.write_now(say("first"))
    await answers(relay, 1)
    late = ChangeMessageRequest("lobby", 1, "ada", content="late")
    assert wire.write_now(batch(RelayCommand(ref=2, change_message=late)))
    channel.abort()
    with pytest.raises(StreamTerminatedError):
        await relay.recv_message()
    changed = await stub.change_message(ChangeMessageRequest("lobby", 1, "ada", content="new"))
    assert changed.message.extra.state.change == 1
