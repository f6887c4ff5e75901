"""Streams that follow changes have, at rest, what the history has: under any interleaving."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st

import codec
from chat.core.encoded import EncodedMessage, Notice
from chat.core.hub import Hub
from chat.core.membership import membership_of
from chat.core.stream import LiveStream
from chat.errors import ChatError
from chat.storage.base import ChangesPage, Page, Range
from chat.storage.changes import Change, state_of
from chat.storage.listener import Head, Listener
from chat.storage.memory import MemoryStore
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    ChatStream,
    Delete,
    Join,
    Joined,
    JoinFollow,
)
from tests.clock import ClockLoop, run, turns
from tests.support import MODEL, message

ROOM: Final = "room"
FOLLOWERS: Final = 2
SECONDS: Final = 0.13

T = TypeVar("T")
Shown = tuple[str, int]
"""The text of a message, and its last change."""


class LateStore(MemoryStore):
    """A store that announces, and answers what it is asked, when the test lets it.

    Attributes:
        queue: what is to be announced, in order.
        gates: the reads that are under way.
        early: whether what is read is what was there at the call, and not at the answer.
    """

    def __init__(self, listener: Listener) -> None:
        self.queue: deque[tuple[Callable[[Any], None], Any]] = deque()
        self.gates: list[asyncio.Event] = []
        self.early = False
        self._renew = listener.renew
        super().__init__(
            Listener(self._late(listener.announce), changed=self._late(listener.changed))
        )

    def _late(self, tell: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda what: self.queue.append((tell, what))

    def announce(self, number: int) -> None:
        for _ in range(min(number, len(self.queue))):
            tell, what = self.queue.popleft()
            tell(what)

    async def _gated(self, read: Callable[[], Awaitable[T]]) -> T:
        early, epoch = await read(), self._epoch
        is_early = self.early
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        return early if is_early and epoch == self._epoch else await read()

    async def follow(self, room_id: str) -> Head:
        return await self._gated(lambda: super(LateStore, self).follow(room_id))

    async def history(self, room_id: str, span: Range) -> Page:
        return await self._gated(lambda: super(LateStore, self).history(room_id, span))

    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        # Small pages: a text and what came behind it may be on two of them.
        few = min(limit, 2)
        return await self._gated(lambda: super(LateStore, self).changes(room_id, after_change, few))

    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        return await self._gated(
            lambda: super(LateStore, self).count_changes(room_id, after_change, most)
        )

    async def catch_up(self, room_id: str) -> None:  # noqa: ARG002 - of the interface
        self.announce(len(self.queue))

    def lose(self) -> None:
        """Loses the newest message with its changes, and takes another epoch."""
        room = self._room(ROOM)
        if not room.messages:
            return
        lost = room.messages.pop()
        del self._keys[ROOM, lost.sender_id, lost.id]
        room.changed.pop(lost.seq, None)
        room.reactions.pop(lost.seq, None)
        room.change = max((change for _, change in self.shown()), default=0)
        room.announced = len(room.messages)
        self.queue.clear()
        self._epoch += "'"
        self._renew({ROOM: room.head})

    def shown(self) -> list[Shown]:
        return [shown(each) for each in self._room(ROOM).messages]

    @property
    def head(self) -> Head:
        return self._room(ROOM).head


def shown(message: ChatMessage) -> Shown:
    state = state_of(message)
    return message.content, state.change if state is not None else 0


class Picture(LiveStream):
    """A client's picture of the room, kept by the rules of the schema.

    Attributes:
        follows: whether it follows changes.
        texts: its messages, in the order of `seq`.
        change: up to which change it is complete; `None` before it was in the room.
        joining: the join that is under way.
    """

    def __init__(self, hub: Hub, store: LateStore, *, follows: bool) -> None:
        super().__init__(1 << 30)
        self.hub = hub
        self.store = store
        self.follows = follows
        self.texts: list[Shown] = []
        self.change: int | None = None
        self.epoch = ""
        self.joining: asyncio.Task[None] | None = None

    def join(self, limit: int | None) -> None:
        join = Join(ROOM)
        if self.change is not None:
            join = Join(ROOM, len(self.texts), self.epoch)
        elif limit is None:
            join = Join(ROOM, 0)
            self.change = 0
        if self.follows:
            join.follow = [JoinFollow(JoinFollow.CHANGES)]
            join.after_change = None if join.after_seq is None else self.change
        self.joining = asyncio.create_task(
            self.hub.join(
                self,
                join,
                membership_of(join, ""),
                answer=self.joined,
                replay=lambda message: self.deliver(EncodedMessage(message)),
                limit=limit,
            )
        )

    def joined(self, joined: Joined) -> None:
        assert (joined.last_change is not None) == self.follows
        if not joined.recovered:
            self.begin(joined.last_seq, joined.last_change or 0)
        self.epoch = joined.epoch

    def begin(self, last_seq: int, change: int) -> None:
        """Reads the history as it stands."""
        self.texts = self.store.shown()[:last_seq]
        self.change = change

    def deliver(self, message: EncodedMessage) -> None:
        assert message.message.seq == len(self.texts) + 1
        self.texts.append(shown(message.message))

    def tell(self, notice: Notice) -> None:
        changes = codec.decode(ChatStream, notice.for_client()).changes
        assert self.follows
        assert self.change is not None
        assert changes.after_change <= self.change, "a gap"
        for each in changes.messages:
            assert each.seq <= len(self.texts), "a change of a message that it does not have"
            text, change = self.texts[each.seq - 1]
            if each.state.change > change:
                text = text if each.content is None else each.content
                self.texts[each.seq - 1] = text, each.state.change
        self.change = max(self.change, changes.last_change)

    def missed(self, message: ChatMessage) -> None:
        raise AssertionError(message)

    def renewed(self, room_id: str, last_seq: int) -> None:
        assert room_id == ROOM
        stay = self.rooms[ROOM]
        self.begin(last_seq, getattr(stay, "change", 0))
        self.epoch = self.store.epoch


class World:
    """A room, those who follow it, and one who follows only messages."""

    def __init__(self, hub: Hub, store: LateStore) -> None:
        self.hub = hub
        self.store = store
        self.pictures = [Picture(hub, store, follows=nth > 0) for nth in range(FOLLOWERS + 1)]
        self.number = 0

    async def take(self, step: str, number: int, loop: ClockLoop) -> None:
        self.number += 1
        picture = self.pictures[number % len(self.pictures)]
        match step:
            case "post":
                self.store.append([message(ROOM, f"text {self.number}", key=str(self.number))])
            case "change":
                await self.change(number)
            case "announce":
                self.store.announce(1 + number % 3)
            case "join" if picture.joining is None:
                picture.join(None if number % 3 else 2)
            case "leave" if picture.joining is None:
                self.hub.leave(picture, ROOM)
            case "answer" if self.store.gates:
                self.store.gates.pop(number % len(self.store.gates)).set()
            case "early":
                self.store.early = not self.store.early
            case "time":
                await loop.pass_time(SECONDS)
            case "lose" if number % 3 == 0:
                self.store.lose()
        await self.settle()

    async def settle(self) -> None:
        await turns(8)
        for picture in self.pictures:
            if picture.joining is not None and picture.joining.done():
                picture.joining.result()
                picture.joining = None

    async def change(self, number: int) -> None:
        asks: list[dict[str, Any]] = [
            {"content": f"edit {self.number}"},
            {"react": "+1"},
            {"unreact": "+1"},
            {"pinned": True},
            {"delete": Delete()},
        ]
        last_seq = self.store.head.seq
        if last_seq:
            ask = asks[number % len(asks)]
            request = ChangeMessageRequest(ROOM, 1 + number % last_seq, "ada", **ask)
            try:
                await self.store.change(Change(request, is_moderator=True))
            except ChatError:
                return  # it was deleted

    async def rest(self, loop: ClockLoop) -> None:
        """Lets all come to an end."""
        while self.store.queue or self.store.gates or any(each.joining for each in self.pictures):
            self.store.announce(len(self.store.queue))
            while self.store.gates:
                self.store.gates.pop().set()
            await self.settle()
        await loop.pass_time(1)

    def check(self) -> None:
        for picture in self.pictures:
            if ROOM not in picture.rooms:
                continue
            if picture.follows:
                assert picture.texts == self.store.shown()
                assert picture.change == self.store.head.change
            else:
                assert len(picture.texts) == self.store.head.seq
        for picture in self.pictures:
            self.hub.close(picture)
        assert len(self.hub.rooms) == 0


WEIGHTS: Final = {
    "post": 2,
    "change": 5,
    "announce": 3,
    "join": 3,
    "leave": 2,
    "answer": 4,
    "early": 1,
    "time": 1,
}


def plans(**more: int) -> st.SearchStrategy[list[tuple[str, int]]]:
    kinds = [kind for kind, weight in (WEIGHTS | more).items() for _ in range(weight)]
    step = st.tuples(st.sampled_from(kinds), st.integers(0, 59))
    return st.lists(step, min_size=30, max_size=120)


async def play(plan: Iterable[tuple[str, int]], loop: ClockLoop) -> None:
    stores: list[LateStore] = []

    async def open_store(listener: Listener) -> LateStore:
        stores.append(LateStore(listener))
        return stores[0]

    world = World(await Hub.open(open_store), stores[0])
    for step, number in plan:
        await world.take(step, number, loop)
    await world.rest(loop)
    world.check()


# An edit, and a later change of the same message: one in a page, the other live.
EDIT_AND_REACTION: Final = [
    *[("join", 22), ("answer", 23), ("early", 25), ("post", 32), ("post", 20), ("post", 48)],
    *[("announce", 36), ("post", 32), ("change", 14), ("change", 40), ("change", 55)],
    *[("early", 7), ("join", 31), ("answer", 5), ("change", 36), ("answer", 35), ("answer", 12)],
]
# A page shows a change that is not announced yet, of a message that is not announced yet.
AHEAD: Final = [
    *[("post", 11), ("change", 58), ("join", 23), ("announce", 29), ("post", 55), ("change", 5)],
    *[("answer", 42), ("answer", 41), ("answer", 36)],
]


@settings(MODEL, max_examples=40)
@example(EDIT_AND_REACTION)
@example(AHEAD)
@given(plans())
def test_pictures_equal_the_history(plan: list[tuple[str, int]]) -> None:
    run(lambda loop: play(plan, loop))


@settings(MODEL, max_examples=20)
@given(plans(lose=1))
def test_pictures_equal_the_history_after_losses(plan: list[tuple[str, int]]) -> None:
    run(lambda loop: play(plan, loop))
