"""Shared by tests of the chat server: streams, channels, waiting, full disks."""

import asyncio
import resource
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    MutableMapping,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Generic, Self, TypeVar, cast

import betterproto
import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.config import Configuration
from hypothesis import HealthCheck, Phase, settings

import chat
import codec
import proxy
from chat.api.batches import Columns
from gen.chat import (
    ChatMessage,
    ChatMessages,
    ChatServiceStub,
    ChatStream,
    Join,
    Leave,
    RelayCommand,
    RelayEvent,
    RelayRequest,
    RelayResponse,
    RelayServiceStub,
)
from tests import kit

PATIENCE_SECONDS = kit.PATIENCE_SECONDS

# A client whose unread calls fill up soon, and stall no other.
SMALL_WINDOWS = Configuration(
    http2_connection_window_size=2**30, http2_stream_window_size=64 * 1024
)

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# For tests whose fixtures may be shared by all examples.
SHARING = settings(
    PATIENT,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

# For state machines. To explain a failure takes hypothesis minutes on Python 3.11.
MODEL = settings(PATIENT, phases=[phase for phase in Phase if phase is not Phase.explain])

# For tests with more requests and connections than people make.
NO_RATES = proxy.Rates()
ANY_NUMBER = proxy.AdmissionRules(connections_per_address=0, handshakes_per_second=0)

Request = TypeVar("Request")
Response = TypeVar("Response")


def message(
    room_id: str = "room", content: str = "hello", *, sender_id: str = "ada", key: str = ""
) -> ChatMessage:
    """A message as written by a client; `key` is its id."""
    return ChatMessage(id=key, room_id=room_id, sender_id=sender_id, content=content)


def seqs(messages: Iterable[ChatMessage]) -> list[int]:
    return [message.seq for message in messages]


@asynccontextmanager
async def channel_to(
    server: chat.RunningServer, config: Configuration | None = None
) -> AsyncIterator[Channel]:
    """A separate channel to a server."""
    channel = Channel(server.host, server.port, codec=codec.GrpcCodec(), config=config)
    try:
        yield channel
    finally:
        channel.close()


class LiveCall(Generic[Request, Response]):
    """A bidirectional call on the client's side, open from the start.

    Args:
        method: the method of a generated stub.
    """

    def __init__(self, method: Callable[[AsyncIterator[Request]], AsyncIterator[Response]]) -> None:
        self._requests: asyncio.Queue[Request | None] = asyncio.Queue()
        # The generated methods are generators, whatever their annotations say.
        self._responses = cast(AsyncGenerator[Response, None], method(self._outgoing()))
        # A read is always pending, as it opens the call.
        self._next = asyncio.create_task(self._read())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._next.cancel()
        await asyncio.wait([self._next])
        if not self._next.cancelled():
            self._next.exception()
        # A task that is cancelled before its first step leaves the call open.
        await self._responses.aclose()

    def put(self, request: Request) -> None:
        """Sends a request without waiting."""
        self._requests.put_nowait(request)

    def end(self) -> None:
        """Half-closes the call."""
        self._requests.put_nowait(None)

    async def receive(self) -> Response:
        """Returns the next response.

        Raises:
            StopAsyncIteration: the call ended with OK.
            GRPCError: the call ended with another status.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            response = await self._next
        self._next = asyncio.create_task(self._read())
        return response

    async def rest(self) -> tuple[list[Response], Status]:
        """Reads until the call ends; returns the responses and the status."""
        responses: list[Response] = []
        while True:
            try:
                responses.append(await self.receive())
            except StopAsyncIteration:
                return responses, Status.OK
            except GRPCError as error:
                return responses, error.status

    async def _read(self) -> Response:
        return await anext(self._responses)

    async def _outgoing(self) -> AsyncIterator[Request]:
        while (request := await self._requests.get()) is not None:
            yield request


class ChatCall(LiveCall[ChatStream, ChatStream]):
    """A `Chat` stream."""

    def __init__(self, stub: ChatServiceStub) -> None:
        super().__init__(stub.chat)

    def say(self, message: ChatMessage, request_id: str | None = None) -> None:
        """Sends a message without waiting."""
        self.put(ChatStream(chat_message=message, request_id=request_id))

    def join(self, room_id: str, request_id: str | None = None, **position: Any) -> None:
        """Sends a join without waiting."""
        self.put(ChatStream(join=Join(room_id, **position), request_id=request_id))

    def leave(self, room_id: str, request_id: str | None = None) -> None:
        """Sends a leave without waiting."""
        self.put(ChatStream(leave=Leave(room_id), request_id=request_id))

    async def hear(self) -> ChatMessage:
        """Returns the next response, which must be a message."""
        return (await self.receive()).chat_message

    async def hear_many(self, number: int) -> list[ChatMessage]:
        """Returns the next responses, which must be messages."""
        return [await self.hear() for _ in range(number)]

    async def enter(self, room_id: str, **position: Any) -> int:
        """Joins a room; returns the position of its newest message."""
        self.join(room_id, **position)
        return (await self.receive()).joined.last_seq

    async def post(self, message: ChatMessage) -> ChatMessage:
        """Sends a message; returns it from the next response."""
        self.say(message)
        return await self.hear()


def sent_by(command: RelayCommand) -> dict[int, ChatMessage]:
    """Messages that a command sends, by their references."""
    kind, _ = betterproto.which_one_of(command, "command")
    if kind == "chat_message":
        return {command.ref: command.chat_message}
    if kind == "chat_messages":
        columns = Columns(codec.decode(ChatMessages, codec.encode(command.chat_messages)))
        return {ref: each for ref, _, each in columns}
    return {}


class RelayCall(LiveCall[RelayRequest, RelayResponse]):
    """A `Relay` stream."""

    def __init__(self, stub: RelayServiceStub) -> None:
        super().__init__(stub.relay)
        self._events: list[RelayEvent] = []
        self._sent: dict[int, ChatMessage] = {}

    def batch(self, *commands: RelayCommand) -> None:
        """Sends commands as one batch without waiting."""
        for each in commands:
            self._sent.update(sent_by(each))
        self.put(RelayRequest(commands=list(commands)))

    async def event(self) -> RelayEvent:
        """Returns the next event of any batch; stored messages one by one."""
        while not self._events:
            self._events = self.whole((await self.receive()).events)
        return self._events.pop(0)

    def whole(self, events: Iterable[RelayEvent]) -> list[RelayEvent]:
        """Completes messages of which only references came back, as a proxy does."""
        return [whole for event in events for whole in self._whole(event)]

    def _whole(self, event: RelayEvent) -> list[RelayEvent]:
        if betterproto.which_one_of(event, "event")[0] != "stored":
            return [event]
        assert event.ref == 0
        stored = event.stored
        return [
            RelayEvent(chat_message=replace(self._sent[ref], seq=seq, sent_at=stored.sent_at))
            for ref, seq in zip(stored.refs, stored.seqs, strict=True)
        ]

    async def events(self, number: int) -> list[RelayEvent]:
        """Returns the next events."""
        return [await self.event() for _ in range(number)]


async def refusal(answer: Awaitable[object]) -> str:
    """The status and the text with which a call is refused."""
    with pytest.raises(GRPCError) as refused:
        await answer
    return f"{refused.value.status.name}: {refused.value.message}"


def told(lines: Iterable[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """Captured log lines above the level `debug`."""
    return [line for line in lines if line["log_level"] != "debug"]


async def eventually(check: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Waits for a condition that the server announces to no one.

    Args:
        check: returns, or awaits, something true once it is done.
        seconds: time limit, if longer than usual.
    """
    async with asyncio.timeout(seconds):
        while not await _value(check()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def _value(result: Any) -> Any:
    return await result if asyncio.iscoroutine(result) else result


@contextmanager
def no_file_grows_past(size: int) -> Iterator[None]:
    """Makes writes beyond a file size fail in this process, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
