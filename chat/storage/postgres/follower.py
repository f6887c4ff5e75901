"""Following rooms: fetches what others stored, and sees that nothing is missed.

::

    hints of other nodes -------------+
    sweep, every few seconds ---------+--> rooms that are behind --> one fetch --> announce
    own append's answer above a gap --+

`following` decides; this module reads, waits and watches.

- **follow**: listen to the room's channel, then read its head: whatever is stored after that is
  told by a hint, or found by the next sweep. Heads that several callers want are read at once.
- **fetch**: one statement reads what all rooms that are behind have more, up to `_PAGE_BYTES`.
  A page is announced at once and fits into the mailbox of a reader; before the next one,
  the event loop has its turn. Rooms with more to come go to the end of the queue.
- **sweep**: the heads of all followed rooms are compared with what was announced, every
  `sweep_seconds`, and whenever hints or the connection to the database may have failed.
- What is read names the epoch it is of. If that is not the one the node works under, nothing
  of it is announced, and the store is told.
- Both loops go on after any failure. What they failed at is behind still.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Final, NamedTuple, Protocol

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError
from chat.storage.listener import Head, Listener
from chat.storage.postgres.change_follower import ChangeFollower
from chat.storage.postgres.change_following import ChangeFollowing
from chat.storage.postgres.change_reads import ChangesBehind
from chat.storage.postgres.connections import READ_SECONDS
from chat.storage.postgres.following import Following
from chat.storage.postgres.heads import HeadReader
from chat.storage.postgres.hint_payloads import Told, channel_of
from chat.storage.postgres.hints import Hints
from chat.storage.postgres.neighbours import node_of
from chat.storage.postgres.stays import InFlight
from chat.storage.postgres.supervised import go_on
from gen.chat import ChatMessage, Typists

# What is announced in one turn at most, if it is more than one message: half of what may
# wait for a slow reader of a single room would already be much.
_PAGE_BYTES: Final = 256 * 1024
# How many rooms one statement reads.
_ROOMS: Final = 512
# How long an append is waited for that brings what would be fetched.
_FLIGHT_SECONDS: Final = 0.005
# How many heads one statement compares.
_POSITIONS: Final = 10_000


class Heads(NamedTuple):
    """The heads of rooms.

    Attributes:
        epoch: of the history that they are of.
        heads: by room.
    """

    epoch: str
    heads: Mapping[str, Head]


class Rows(NamedTuple):
    """What rooms have behind some positions.

    Attributes:
        epoch: of the history that they are of.
        messages: of each room in order.
        cut: the rooms that may have more.
    """

    epoch: str
    messages: Sequence[ChatMessage]
    cut: frozenset[str]


class RoomReader(Protocol):
    """Reads rooms on the server that takes writes; raises `StoreError` if it can't."""

    async def heads(self, room_ids: Sequence[str]) -> Heads:
        """Reads heads; a room that there is not has none."""

    async def moved(self, positions: Mapping[str, Head]) -> Heads:
        """Reads the heads of those rooms that are not at these; a missing one is at 0."""

    async def behind(self, positions: Mapping[str, int], most_bytes: int) -> Rows:
        """Reads messages behind these positions, up to a size, but one at least."""

    async def changes_behind(
        self, positions: Mapping[str, tuple[int, int]], most_bytes: int
    ) -> ChangesBehind:
        """Reads changes behind these numbers, see `change_reads.read_behind`."""


class Follower:
    """The rooms that this node follows.

    Args:
        following: what was announced.
        changes: likewise of the changes.
        reader: reads rooms.
        listener: takes what other nodes told beside: marks, and whispers.
        metrics: counts.
        epoch: tells the epoch that the node works under.
        on_other_epoch: is called when another one was read: the history is to begin anew.
        sweep_seconds: how often heads are compared.

    Attributes:
        changes: the changes of the same rooms.
    """

    def __init__(
        self,
        following: Following,
        changes: ChangeFollowing,
        reader: RoomReader,
        metrics: StoreMetrics,
        *,
        listener: Listener,
        epoch: Callable[[], str],
        on_other_epoch: Callable[[], None],
        sweep_seconds: float,
    ) -> None:
        self._following = following
        self._changes = changes
        self.changes = ChangeFollower(changes, reader.changes_behind, self._check)
        self._reader = reader
        self._listener = listener
        self._metrics = metrics
        self._epoch = epoch
        self._on_other_epoch = on_other_epoch
        self._sweep_seconds = sweep_seconds
        self._hints: Hints | None = None
        self._opening: dict[str, asyncio.Task[Head]] = {}
        self._channels: Counter[str] = Counter()
        self._heads = HeadReader(self._read_heads)
        self._behind = asyncio.Event()
        self._sweep_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, hints: Hints) -> None:
        """Begins to follow.

        Args:
            hints: the bus, which tells `hear` and `sweep_soon`.
        """
        self._hints = hints
        self._heads.start()
        self.changes.start()
        self._tasks = [
            asyncio.create_task(go_on("fetching messages of other servers", self._fetch)),
            asyncio.create_task(go_on("comparing heads of rooms", self._sweep)),
        ]

    async def close(self) -> None:
        """Follows no longer."""
        tasks = [*self._tasks, *self._opening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._heads.close()
        await self.changes.close()
        # Whoever waits for an announcement waits in vain.
        for mark in self._following.marks():
            self._following.leave(mark.room_id)

    async def follow(self, room_id: str) -> Head:
        """See `Store.follow`.

        Raises:
            StoreError: the head could not be read; the room is not followed.
        """
        if (head := self._head(room_id)) is not None:
            return head
        opening = self._opening.get(room_id)
        if opening is None:
            opening = asyncio.create_task(self._open(room_id))
            self._opening[room_id] = opening
            opening.add_done_callback(partial(self._opened, room_id))
        # Others may wait for the same.
        return await asyncio.shield(opening)

    def unfollow(self, room_id: str) -> None:
        """See `Store.unfollow`."""
        # Whoever follows it again begins anew; who waits already gets what they wait for.
        self._opening.pop(room_id, None)
        if room_id in self._following:
            self._following.leave(room_id)
            self._changes.leave(room_id)
            self._channels[channel_of(room_id)] -= 1
            self._metrics.followed_rooms = len(self._following)

    async def catch_up(self, room_id: str) -> None:
        """Returns when all was announced that any node had stored in a room before the call.

        At once, if it is not followed.

        Raises:
            StoreError: that could not be read, or not in time.
        """
        if self._following.position(room_id) is None:
            return
        generation = self._following.generation
        head = await self._heads.head(room_id)
        if generation == self._following.generation:
            reached = asyncio.Event()
            self._following.reach(room_id, head.seq, reached.set)
            self._look()
            try:
                async with asyncio.timeout(READ_SECONDS):
                    await reached.wait()
                    await self.changes.reach(room_id, head.change)
            except TimeoutError as error:
                raise StoreError("the rest of the room could not be read in time") from error

    def stored(
        self, flight: InFlight, others: Sequence[ChatMessage], own: Sequence[ChatMessage]
    ) -> None:
        """Takes the answer of an append, see `Following.store`, and tells other nodes."""
        self._observe_lag(others)
        self._following.store(flight, others, own)
        self._look()
        if self._hints is not None:
            heads = {message.room_id: message.seq for message in own}
            self._hints.tell(heads, met_others=bool(others))

    def hear(self, told: Told) -> None:
        """Takes what another node told."""
        self._following.hint(told.heads)
        self._changes.hint(told.changes)
        self._look()
        marks = [each for each in told.marks if each.mark.room_id in self._following]
        if marks:
            self._listener.marked(marks)
        for whisper in told.whispers:
            if not isinstance(whisper, Typists) or whisper.room_id in self._following:
                self._listener.whispered(node_of(told.node), whisper)

    def met(self, node: str) -> None:
        """Takes that another node is there."""
        self._listener.met(node)

    def lost(self, node: str) -> None:
        """Takes that another node is gone."""
        self._listener.lost(node)

    def sweep_soon(self) -> None:
        """Compares heads now: something may have been missed."""
        self._sweep_wanted.set()

    def _head(self, room_id: str) -> Head | None:
        """How far a room was announced; `None` if it is not followed yet."""
        seq, change = self._following.position(room_id), self._changes.position(room_id)
        return None if seq is None or change is None else Head(seq, change)

    async def _open(self, room_id: str) -> Head:
        stay = self._following.begin(room_id)
        self._changes.begin(room_id)
        channel = channel_of(room_id)
        self._channels[channel] += 1
        self._metrics.followed_rooms = len(self._following)
        try:
            if self._hints is not None:
                await self._hints.listen(channel)
            head = await self._heads.head(room_id)
        except BaseException:
            if self._following.is_in(room_id, stay):
                self.unfollow(room_id)
            raise
        if self._following.is_in(room_id, stay):
            self._changes.open(room_id, head.change)
        head = head._replace(seq=self._following.open(room_id, stay, head.seq))
        self._look()
        # The history may have become another one meanwhile: then that one's head counts.
        return self._head(room_id) or head

    def _opened(self, room_id: str, opening: asyncio.Task[Head]) -> None:
        if self._opening.get(room_id) is opening:
            del self._opening[room_id]
        if not opening.cancelled():
            opening.exception()  # perhaps nobody waits for it any more

    async def _read_heads(self, room_ids: Sequence[str]) -> Mapping[str, Head]:
        read = await self._reader.heads(room_ids)
        self._check(read.epoch)
        return read.heads

    async def _fetch(self) -> None:
        await self._behind.wait()
        self._behind.clear()
        while self._following.is_behind:
            fetch = self._following.take(_ROOMS, leave_flying=True)
            if not fetch.positions and self._following.is_behind:
                # Most of it comes along with the answer of an append.
                await asyncio.sleep(_FLIGHT_SECONDS)
                fetch = self._following.take(_ROOMS)
            if not fetch.positions:
                continue  # all of them were left, or caught up by an append
            try:
                rows = await self._reader.behind(fetch.positions, _PAGE_BYTES)
                self._check(rows.epoch)
            except BaseException:
                self._following.retry(fetch)
                self._behind.set()
                raise
            self._observe_lag(rows.messages)
            self._following.bring(fetch, rows.messages)
            self._following.finish(fetch, rows.cut)
            self._metrics.sweep_found = self._following.found

    async def _sweep(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._sweep_seconds):
                await self._sweep_wanted.wait()
        self._sweep_wanted.clear()
        self._leave_channels()
        began = time.perf_counter()
        try:
            await self._compare()
        except BaseException:
            self._sweep_wanted.set()
            raise
        self._metrics.sweep_seconds.observe(time.perf_counter() - began)

    async def _compare(self) -> None:
        sweep = self._following.ask()
        changes = self._changes.positions()
        positions = iter(sweep.positions.items())
        while part := dict(islice(positions, _POSITIONS)):
            known = {room: Head(seq, changes.get(room, 0)) for room, seq in part.items()}
            moved = await self._reader.moved(known)
            self._check(moved.epoch)
            if sweep.generation != self._following.generation:
                return
            heads = moved.heads.items()
            self._following.sweep(sweep, {room_id: head.seq for room_id, head in heads})
            self._changes.sweep(changes, {room_id: head.change for room_id, head in heads})
            self._look()

    def _check(self, epoch: str) -> None:
        """Refuses what was read of another history than the node works on."""
        if epoch != self._epoch():
            self._on_other_epoch()
            raise StoreError("the history became another one")

    def _leave_channels(self) -> None:
        unused = [channel for channel, rooms in self._channels.items() if rooms <= 0]
        for channel in unused:
            del self._channels[channel]
            if self._hints is not None:
                self._hints.ignore(channel)

    def _look(self) -> None:
        if self._following.is_behind:
            self._behind.set()
        self.changes.look()

    def _observe_lag(self, messages: Iterable[ChatMessage]) -> None:
        now = time.time()
        # Those of a commit share their time.
        for sent_at, number in Counter(message.sent_at for message in messages).items():
            if sent_at is not None:
                lag = max(0.0, now - sent_at.timestamp())
                self._metrics.follow_lag_seconds.observe(lag, number)
