"""Hubs that share a history, as nodes do, and streams that note what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import codec
from chat.core.encoded import EncodedMessage, Notice
from chat.core.hub import Hub
from chat.core.membership import membership_of
from chat.core.stream import LiveStream
from chat.storage.listener import Listener, Whisper
from chat.storage.memory import MemoryStore
from gen.chat import (
    ChatMessage,
    ChatStream,
    Join,
    RelayResponse,
    RoomPresence,
    Typists,
    Wanted,
)
from tests.clock import ClockLoop

ROOM = "room"
STEP = 0.25


class Stream(LiveStream):
    """A client's stream.

    Attributes:
        told: what it was told, but messages.
        deaf: whether telling it something fails.
        behind: whether its mailbox is more than half full.
    """

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.told: list[Any] = []
        self.deaf = False
        self.behind = False

    @property
    def is_behind(self) -> bool:
        return self.behind

    def deliver(self, message: EncodedMessage) -> None:
        raise AssertionError(message)

    def tell(self, notice: Notice) -> None:
        if self.deaf:
            raise ValueError
        self.told.append(codec.decode(ChatStream, notice.for_client()).payload)

    def missed(self, message: ChatMessage) -> None:
        raise AssertionError(message)

    def renewed(self, room_id: str, last_seq: int) -> None:
        raise AssertionError(room_id, last_seq)

    def take(self) -> list[Any]:
        """Returns what it was told since the last time."""
        told, self.told = self.told, []
        return told


class Link(Stream):
    """A proxy's link, which does what it is asked.

    Attributes:
        users: its clients in the room.
        names: whether it names them when it is asked to.
    """

    is_link = True

    def __init__(self, node: Node, *users: str) -> None:
        super().__init__()
        self.node = node
        self.users = set(users)
        self.names = True
        self.wanted = False

    def tell(self, notice: Notice) -> None:
        for event in codec.decode(RelayResponse, notice.for_proxy()).events:
            self.told.append(event.event)
            if isinstance(event.event, Wanted):
                self.wanted = event.event.presence
                if self.wanted:
                    asyncio.get_running_loop().call_soon(self.report)

    def report(self) -> None:
        """Tells the server who is there."""
        if ROOM in self.rooms:
            named = sorted(self.users) if self.names and self.wanted else []
            self.node.hub.present.told(self, RoomPresence(ROOM, len(self.users), named))


class Node:
    """One of several nodes. Made by `open`."""

    def __init__(self, name: str, others: list[Node]) -> None:
        self.name = name
        self.others = others
        self.whispers: list[Whisper] = []
        self.reachable = True
        self.hub: Hub
        self.listener: Listener

    @classmethod
    async def open(cls, name: str, nodes: list[Node] | None = None) -> Node:
        """Opens a node.

        Args:
            name: its name.
            nodes: all nodes, to which it is added; without, it is the only one.
        """
        node = cls(name, nodes if nodes is not None else [])

        async def open_store(listener: Listener) -> MemoryStore:
            node.listener = listener
            return _Store(listener, node) if nodes is not None else MemoryStore(listener)

        node.hub = await Hub.open(open_store)
        if nodes is not None:
            nodes.append(node)
            for other in nodes[:-1]:
                other.listener.met(name)
        return node

    def whisper(self, told: Whisper) -> None:
        """Tells the other nodes."""
        self.whispers.append(told)
        for other in self.others:
            if other is not self and self.reachable:
                kind = type(told)
                other.listener.whispered(self.name, codec.decode(kind, codec.encode(told)))

    async def join(self, stream: Stream, user_id: str = "", follow: Sequence[Any] = ()) -> None:
        """Lets a stream join the room."""
        join = Join(ROOM, follow=list(follow))
        await self.hub.join(
            stream,
            join,
            membership_of(join, None if stream.is_link else user_id),
            answer=lambda _: None,
            replay=lambda _: None,
            limit=None,
            user_id=user_id,
        )


class _Store(MemoryStore):
    """A store that other nodes use as well."""

    def __init__(self, listener: Listener, node: Node) -> None:
        super().__init__(listener)
        self._node = node

    @property
    def is_shared(self) -> bool:
        return True

    def whisper(self, told: Whisper) -> None:
        self._node.whisper(told)


def presence(*users: str, count: int | None = None) -> RoomPresence:
    """Who is in the room."""
    return RoomPresence(ROOM, len(users) if count is None else count, list(users))


def typists(*users: str, others: int = 0) -> Typists:
    """Who types in the room."""
    return Typists(ROOM, list(users), others, 6000 if users or others else 0)


async def passes(loop: ClockLoop, seconds: float) -> None:
    """Lets time pass in small steps, so that timers that others set are run."""
    for _ in range(round(seconds / STEP)):
        await loop.pass_time(STEP)
