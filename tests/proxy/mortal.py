"""A chat server that appears to die of certain commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from grpclib.server import Stream

from chat.api.relay import RelayConversation
from chat.api.relay_service import RelayService
from chat.core.hub import Hub
from chat.errors import Unavailable
from gen.chat import Join, RelayCommand, RelayRequest, RelayResponse
from tests.support import sent_by

Is = Callable[[RelayCommand], bool]


def nothing(_: RelayCommand) -> bool:
    return False


def anything(_: RelayCommand) -> bool:
    return True


class MortalServer:
    """The real server behind a relay that can fail.

    Attributes:
        kills: commands that end the connection, with the loss of the whole batch.
        ends: commands behind which the stream ends in order.
        ignores: commands that are never answered.
        links: number of streams opened.
        linked: set with each stream.
        asks_for_tokens: whether it requires tokens.
        deaths: number of deaths.
    """

    def __init__(self, hub: Hub) -> None:
        self.kills: Is = nothing
        self.ends: Is = nothing
        self.ignores: Is = nothing
        self.links = 0
        self.linked = asyncio.Event()
        self.asks_for_tokens = False
        self.deaths = 0
        self.hub = hub

    def cut(self) -> None:
        """Ends the connections of all streams."""
        for stream in tuple(self.hub.streams):
            if isinstance(stream, _Mortal) and stream.server is self:
                stream.die()


class _Mortal(RelayConversation):
    server: MortalServer
    call: Stream[RelayRequest, RelayResponse]

    async def receive(self, request: RelayRequest) -> None:
        if any(map(self.server.kills, request.commands)):
            self.server.deaths += 1
            self.die()
            await asyncio.Event().wait()
        ends = any(map(self.server.ends, request.commands))
        request.commands = [each for each in request.commands if not self.server.ignores(each)]
        await super().receive(request)
        if ends:
            self.end_with(Unavailable("on its way out"))

    def die(self) -> None:
        """Aborts connections, like a killed process."""
        wire: Any = self.call._stream._transport  # noqa: SLF001 - grpclib offers no other way
        wire._transport.abort()  # noqa: SLF001 - likewise


class MortalRelay(RelayService):
    """The real service, whose streams can fail as its server is told."""

    server: MortalServer

    async def _relay(self, stream: Stream[RelayRequest, RelayResponse]) -> None:
        self.server.links += 1
        self.server.linked.set()
        connection = _Mortal(self._context, self._context.authenticate_proxy(stream))
        connection.server, connection.call = self.server, stream
        await connection.run(stream)


def says(content: str) -> Is:
    """Matches commands that send this text."""
    return lambda command: any(each.content == content for each in sent_by(command).values())


def carries(payload: Any) -> Is:
    """Matches commands that hold this message."""

    def check(command: RelayCommand) -> bool:
        return payload in vars(command).values()

    return check


def joins(room_id: str, after_seq: int | None = None) -> Is:
    """Matches commands that join a room from this position on."""

    def check(command: RelayCommand) -> bool:
        join = command.command
        return isinstance(join, Join) and (join.room_id, join.after_seq) == (room_id, after_seq)

    return check
