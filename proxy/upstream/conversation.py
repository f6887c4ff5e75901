"""One link in use: the outbox is drained into its stream, the switchboard takes what comes.

::

    new ---- alive for 3 s ----> proven
     |                             |
     +--- lost --> judged          +--- lost
     +--- a successor is open ---- handed over --> the successor begins

*new*: the outbox is open. The switchboard has put all into it that the server must know, and
what was not confirmed. A link that dies now may have died of one of these commands: they
become suspects (`proxy.core.suspects`).
*proven*: nothing on it is deadly; the suspects are cleared. A server that ends a link in order
(it stops, or a token has expired) proves it after 1 s.
*lost*: the stream ends, the server says GOAWAY, a health check is not answered
(`proxy.upstream.health`), or the server leaves out a position of a room.
*handed over*: nothing more is sent, and what was sent is confirmed, within a second; what is not
is sent again on the successor. The successor begins in the same turn of the event loop in which
this one ends, so that nobody meets a proxy without a link.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from grpclib import Status

from hosting.grpc.channel import ended, status_of
from hosting.logs import get_logger
from proxy import errors
from proxy.core.suspects import LINKS, Suspects, key_of
from proxy.core.switchboard import Switchboard
from proxy.metrics import ProxyMetrics
from proxy.upstream.calls import Calls
from proxy.upstream.choice import Server
from proxy.upstream.lost import LOST
from proxy.upstream.opening import OpenLink
from proxy.upstream.writer import Writer

log = get_logger(__name__)

# A link that is lost before it has lived so long counts as a failure.
_PROVEN_SECONDS: Final = 3.0
# The same for one that the server ends in order.
_ORDERLY_SECONDS: Final = 1.0
# The statuses of an end in order: the server stops, or a token or a key has expired.
_ORDERLY: Final = (Status.UNAVAILABLE, Status.UNAUTHENTICATED)
# A link that is handed over waits so long for confirmations.
_FINISH_SECONDS: Final = 1.0


class Conversation:
    """The use of one link.

    Args:
        link: the link; nothing was sent on it yet.
        switchboard: its outbox is drained, and it takes the server's batches.
        calls: makes unary calls beside the link.
        suspects: the commands that links may have died of.
        metrics: counts batches.

    Attributes:
        link: as above.
        proven: whether nothing on it is deadly.
        orderly: whether the server has ended it in order.
    """

    def __init__(
        self,
        link: OpenLink,
        switchboard: Switchboard,
        calls: Calls,
        suspects: Suspects,
        metrics: ProxyMetrics,
    ) -> None:
        self.link = link
        self.proven = self.orderly = False
        self._switchboard = switchboard
        self._outbox = switchboard.outbox
        self._calls = calls
        self._suspects = suspects
        self._metrics = metrics
        self._connection = link.channel.watch()
        self._began = asyncio.get_running_loop().time()
        # A lost link ends one of them.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def silent(self) -> bool:
        """Whether the link was lost because the server did not answer in time."""
        return any(isinstance(error, TimeoutError) for error in self._errors())

    async def run(self, seek: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Uses the link until it is lost, or there is a better one.

        It begins without awaiting anything, and awaits nothing after its end.

        Args:
            seek: ends once there is a better one; it is called when the link is proven.

        Returns:
            Whether there is a better one.
        """
        moving = False
        self._outbox.open()
        try:
            writer = self._begin()
            await asyncio.wait(
                self._tasks, timeout=_PROVEN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not self._is_lost():
                self._prove()
                writer.stop_grouping()
                moving = await self._seek(seek)
            if moving:
                await self._finish(writer)
            else:
                self._judge()
        finally:
            self._outbox.close()
            self._calls.disconnected()
            if moving:
                self._switchboard.moving()
            else:
                self._switchboard.disconnected()
            for task in self._tasks:
                task.cancel()
        return moving

    async def close(self) -> None:
        """Ends the stream; calls that are under way end before the connection does."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        for error in self._errors():
            if isinstance(error, LOST):
                log.warning("upstream lost", **about(self.link.server), reason=repr(error))
            else:
                log.error("upstream failed", exc_info=error)
        await self.link.close()

    def _begin(self) -> Writer:
        link = self.link
        self._calls.connected(link.server, link.channel, tokens_required=link.tokens_required)
        self._switchboard.connected(
            tokens_required=link.tokens_required, presence=self._suspects.links < LINKS - 1
        )
        writer = Writer(link.stream, self._switchboard, self._suspects, self._metrics)
        # Not a task group: of a stop and a lost link in the same turn of the loop,
        # a group tells of the link alone.
        for work in (
            writer.run(),
            self._read(writer),
            link.health.watch(),
            link.channel.goodbye(),
        ):
            self._tasks.add(asyncio.create_task(work))
        return writer

    async def _read(self, writer: Writer) -> None:
        stream = self.link.stream
        while (batch := await stream.recv_message()) is not None:
            self.link.spoke.set()
            self._switchboard.receive(batch)
            writer.note_answers()
            # recv_message does not yield while there is something to read, and
            # the sockets are written to when the loop turns.
            await asyncio.sleep(0)
        raise ConnectionError("the server ended the stream")

    async def _seek(self, seek: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Returns whether there is a better link; else this one is lost."""
        seeking = asyncio.create_task(seek())
        try:
            await asyncio.wait({*self._tasks, seeking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ended(seeking)
        return not seeking.cancelled()

    async def _finish(self, writer: Writer) -> None:
        """Waits until what was sent is confirmed, unless that takes long."""
        finishing = asyncio.create_task(writer.finish())
        try:
            await asyncio.wait(
                {*self._tasks, finishing},
                timeout=_FINISH_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            await ended(finishing)

    def _prove(self) -> None:
        """Forgets the suspects: the link has lived long enough."""
        self.proven = True
        self._suspects.clear()
        self._switchboard.proven()

    def _judge(self) -> None:
        """Decides, as the link is lost, whether one of its commands is to blame."""
        left = self._connection.left_in_order
        status = Status.UNAVAILABLE if left else status_of(self.link.stream)
        self.orderly = status in _ORDERLY
        if self.proven:
            return
        if self.orderly:
            lived = asyncio.get_running_loop().time() - self._began
            if self.link.spoke.is_set() and lived >= _ORDERLY_SECONDS:
                self._prove()
            return
        refs = dict(self._switchboard.unanswered())
        waiting = {key for item in self._outbox if (key := key_of(item)) is not None}
        for key in self._suspects.died(refs.keys() - waiting, waiting):
            log.error("command given up that was there when links died", kind=key[0])
            self._switchboard.refuse(refs[key], errors.internal())

    def _is_lost(self) -> bool:
        return any(task.done() for task in self._tasks)

    def _errors(self) -> list[BaseException]:
        ended = [task for task in self._tasks if task.done() and not task.cancelled()]
        return [error for task in ended if (error := task.exception()) is not None]


def about(server: Server) -> dict[str, str]:
    """What a line in the log says of a server: its name, and the address if that is another."""
    if server.address == server.host:
        return {"upstream": server.name}
    return {"upstream": server.name, "address": server.address}
