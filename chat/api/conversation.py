"""Running one live stream: reading and writing at once, and every way it ends."""

import asyncio
import time
from abc import abstractmethod
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, TypeVar

from grpclib.server import Stream

from chat.access.identity import Identity
from chat.api.context import Context
from chat.core.membership import Following
from chat.core.stream import LiveStream
from chat.errors import ChatError, Draining, Internal, ResourceExhausted, Unauthenticated
from gen.chat import ChatMessage, Joined
from hosting.grpc.errors import StreamClosed
from hosting.logs import get_logger
from hosting.telemetry.histogram import Tally

log = get_logger(__name__)

Request = TypeVar("Request")

_LONGEST_SLEEP_SECONDS: Final = 60.0
# How long a caller may take to read the answers it is owed when its token has expired.
_LAST_WORDS_SECONDS: Final = 2.0


class Bounds(NamedTuple):
    """Bounds of a live stream.

    Attributes:
        mailbox_bytes: the size of its mailbox.
        rooms: the most rooms that it may be in.
        users: the most users that it may speak for.
    """

    mailbox_bytes: int
    rooms: int
    users: int


class Conversation(LiveStream, Generic[Request]):
    """A live stream that handles the requests of its client.

    Attributes:
        lines_of_refusals: the number of log lines for each kind of error.
        refused: counts refused requests.
        hub: the context's.
        caller: the caller, by the token that was presented last.
    """

    lines_of_refusals = 1

    def __init__(self, context: Context, bounds: Bounds, caller: Identity) -> None:
        super().__init__(bounds.mailbox_bytes)
        self.bounds = bounds
        self.context = context
        self.hub = context.hub
        self.caller = caller
        # Why the stream has to end, if it was decided elsewhere.
        self._verdict: ChatError | None = None
        self._judged = asyncio.Event()
        # Sends and changes that are on their way to the disk.
        self._pending: set[asyncio.Future[Any]] = set()
        self.refused = Tally(self.lines_of_refusals)

    @abstractmethod
    async def receive(self, request: Request) -> None:
        """Handles one request; a request that is refused is answered, not raised.

        Before it hands messages to the store, it waits until that has room.
        """

    @abstractmethod
    def answer_missed(self, message: ChatMessage) -> None:
        """Answers the client's own message that could not be delivered to it."""

    @abstractmethod
    def tell_lost(self, joined: Joined) -> None:
        """Tells the client from where on a room goes on: what was before it is lost to it."""

    def missed(self, message: ChatMessage) -> None:
        """See `LiveStream`; if not even that can be told, the stream ends."""
        try:
            self.answer_missed(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.failed("client not told of a failure", error)
        else:
            self.renewed(message.room_id, message.seq)

    def renewed(self, room_id: str, last_seq: int) -> None:
        """See `LiveStream`; if not even that can be told, the stream ends."""
        try:
            stay = self.rooms.get(room_id)
            last_change = stay.change if isinstance(stay, Following) and stay.changes else None
            epoch = self.hub.store.epoch
            self.tell_lost(
                Joined(room_id, epoch, last_seq, recovered=False, last_change=last_change)
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self.failed("client not told of a failure", error)

    def failed(self, event: str, error: Exception) -> None:
        """Ends the stream with INTERNAL; the log gets the whole story."""
        self.context.faults.log(event, error)
        self.end_with(Internal())

    def stop_deliveries(self) -> None:
        """Lets the caller hear of nothing new: its token has expired, or the stream has to end."""

    def check_keys(self) -> None:
        """Ends the stream if the key of the caller's token is gone."""
        if not self.context.authenticator.knows_key_of(self.caller):
            self.end_with(Unauthenticated("the token is signed with a key that is not known"))

    def end_with(self, error: ChatError) -> None:
        """Lets the stream end, as when the token has expired."""
        self._verdict = self._verdict or error
        self._judged.set()

    def check_room(self, room_id: str, path: str) -> None:
        """Checks that the stream may be in a room, beside those that it is in.

        Raises:
            ResourceExhausted: it is in as many as it may be.
        """
        if room_id not in self.rooms and len(self.rooms) >= self.bounds.rooms:
            text = f"a connection may be in at most {self.bounds.rooms} rooms"
            raise ResourceExhausted(f"{path}: {text}")

    def check_user(self, user_id: str, path: str) -> None:
        """Checks that the stream may speak for a user, beside those that it speaks for.

        Raises:
            ResourceExhausted: it speaks for as many as it may.
        """
        users = self.hub.users_of(self)
        if len(users) >= self.bounds.users and user_id not in users:
            text = f"a connection may send as at most {self.bounds.users} users"
            raise ResourceExhausted(f"{path}: {text}")

    @property
    def initial_metadata(self) -> dict[str, str]:
        """The metadata with which the stream is opened."""
        return {}

    def expect(self, future: asyncio.Future[Any]) -> None:
        """Lets the stream not end well before a send or a change is done."""
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)

    async def run(self, stream: Stream[Request, Any]) -> None:
        """Serves the stream until the client ends it, it fails, or the server drains.

        When the client ends its side, or the server drains, accepted requests are
        answered first.

        Raises:
            SlowConsumer: the client does not read.
            Draining: the server is about to stop.
            Unauthenticated: the caller's token has expired, or its key is gone.
            ChatError: see `end_with`.
        """
        # The client learns at once that the stream is open.
        await stream.send_initial_metadata(metadata=self.initial_metadata)
        reading = asyncio.create_task(self._read(stream, asyncio.current_task()))
        writing = asyncio.create_task(self.write_to(stream))
        draining = asyncio.create_task(self.context.draining.wait())
        judging = asyncio.create_task(self._wait_for_end(reading))
        tasks = {reading, writing, draining, judging}
        try:
            self.hub.streams.add(self)
            # They may have been replaced before it was among the streams.
            self.check_keys()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ending = asyncio.create_task(self._end(reading, writing))
            tasks.add(ending)
            await asyncio.wait({ending, judging}, return_when=asyncio.FIRST_COMPLETED)
            # A caller whose token has expired may not take long to read the rest.
            await asyncio.wait({ending}, timeout=_LAST_WORDS_SECONDS)
            if ending.done():
                ending.result()
            if self._verdict is not None:
                raise self._verdict
            self.caller.check_time(time.time())
        finally:
            # Nothing here awaits before the hub has forgotten the stream: a call
            # with a deadline may be cancelled a second time while it cleans up.
            self.hub.close(self)
            self.context.metrics.slow_consumers += self.overflowed
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            _see_failures(tasks)
            if refused := str(self.refused):
                log.debug("requests refused", refused=refused)

    async def _end(self, reading: asyncio.Task[None], writing: asyncio.Task[None]) -> None:
        if writing.done():
            await writing
        if reading.done() and not reading.cancelled():
            await reading
        else:
            reading.cancel()
        if self._pending:
            await asyncio.wait(self._pending)
        self.finish()
        await writing
        if self.context.draining.is_set():
            raise Draining

    async def _wait_for_end(self, reading: asyncio.Task[None]) -> None:
        """Returns when the token has expired or `end_with` was called; stops reading."""
        while not self._judged.is_set():
            end = self.caller.expires_at
            rest = None if end is None else end - time.time()
            if rest is not None and rest <= 0:
                break
            # Another token may be presented, and clocks may be set.
            seconds = None if rest is None else min(rest, _LONGEST_SLEEP_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._judged.wait()
        # First of all: it could ask for a room again.
        reading.cancel()
        self.stop_deliveries()

    async def _read(self, stream: Stream[Request, Any], handler: asyncio.Task[Any] | None) -> None:
        async for request in stream:
            if handler is not None and handler.cancelling():
                # The stream was reset behind it. While this server slept, say, the client has
                # gone to another one, and has asked for more since.
                break
            await self.receive(request)


def _see_failures(tasks: set[asyncio.Task[Any]]) -> None:
    """Retrieves the exceptions of tasks beside the one that is being raised."""
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ChatError | StreamClosed):
            log.debug("stream ended", error=repr(error))
