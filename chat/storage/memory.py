"""A store in memory: the plain twin of the others, for tests and trials.

It keeps every guarantee of `chat.storage.base` but durability.
"""

import asyncio
import time
import uuid
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, islice

import codec
from chat.metrics import StoreMetrics
from chat.storage.base import (
    MOST_MEMBERS,
    PAGE_BYTES,
    ChangesPage,
    Erased,
    MessageKey,
    Page,
    Range,
    ReactionRow,
    RoomIds,
    RoomRow,
    Store,
    StoreError,
    Unstorable,
)
from chat.storage.changes import (
    MOST_MENTIONS,
    NAMED,
    Change,
    Reactors,
    change_of,
    decide,
    is_deleted,
    is_for,
    needs_reactors,
    no_message,
    state_of,
)
from chat.storage.health import StoreHealth
from chat.storage.listener import Head, Listener, UserMark
from chat.storage.results import finish, fit_page, make_user
from chat.storage.rooms import ITSELF, decide_room, folded, is_found, number_of, span_of
from chat.storage.stamps import Clock, Stamps, from_micros
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    Delete,
    Mark,
    Room,
    RoomChanges,
    User,
)


class _Room:
    """One room.

    Attributes:
        messages: as they stand, in the order of `seq`.
        info: what is known of it beside its messages.
        changed: by position, in the order of their last changes: the number of the last change
            of the text, 0 for none. The room itself has position 0.
        change: the number of the newest change.
        announced: the newest position that was announced.
        reactions: by position, kind and user: the number of the change.
        marks: by user, how far it has read.
        members: the users with a mark, in order.
    """

    def __init__(self, room_id: str) -> None:
        self.info = Room(room_id)
        self.messages: list[ChatMessage] = []
        self.changed: dict[int, int] = {}
        self.change = 0
        self.announced = 0
        self.reactions: dict[int, dict[tuple[str, str], int]] = {}
        self.marks: dict[str, int] = {}
        self.members: list[str] = []

    @property
    def head(self) -> Head:
        return Head(len(self.messages), self.change)

    def reactors(self, request: ChangeMessageRequest) -> Reactors:
        """Those who react with the kind that a request is about."""
        emoji = needs_reactors(request)
        reactions = self.reactions.get(request.seq, {})
        users = [user_id for kind, user_id in reactions if kind == emoji]
        return Reactors(users[: NAMED + 1], request.user_id in users)

    def number(self, seq: int) -> int:
        """The number of the last change of a message, or of the room itself; 0 for none."""
        if seq == ITSELF:
            return self.info.change
        state = state_of(self.messages[seq - 1])
        return 0 if state is None else state.change

    def mark(self, user_id: str, seq: int) -> None:
        """Notes how far a user has read."""
        if user_id not in self.marks:
            insort(self.members, user_id)
        self.marks[user_id] = seq

    def unmark(self, user_id: str) -> None:
        """Forgets how far a user has read."""
        if self.marks.pop(user_id, None) is not None:
            self.members.remove(user_id)

    def mark_of(self, user_id: str, seq: int) -> Mark:
        """The mark of a user who has read up to a position."""
        unread = islice(reversed(self.messages), len(self.messages) - seq)
        count = sum(is_for(message, user_id) for message in unread)
        return Mark(self.info.id, seq, min(count, MOST_MENTIONS))

    def set(self, info: Room) -> RoomChanges:
        """Sets what is known of it; returns that as it is told."""
        before, self.change = self.change, info.change
        self.info = info
        self.changed.pop(ITSELF, None)
        self.changed[ITSELF] = 0
        return RoomChanges(info.id, before, self.change, room=replace(info))

    def note(self, request: ChangeMessageRequest, message: ChatMessage) -> None:
        """Notes what a change has made of a message."""
        self.change += 1
        seq = message.seq
        old_text, self.messages[seq - 1] = self.messages[seq - 1].content, message
        text_change = self.changed.pop(seq, 0)
        self.changed[seq] = text_change if old_text == message.content else self.change
        emoji = needs_reactors(request)
        reactions = self.reactions.setdefault(seq, {})
        if is_deleted(message):
            reactions.clear()
        elif emoji and reactions.pop((emoji, request.user_id), None) is None:
            reactions[emoji, request.user_id] = self.change


class MemoryStore(Store):
    """A history that ends with the process.

    Args:
        listener: see `chat.storage.base`.
        clock: the wall clock.
        metrics: counts messages.
    """

    def __init__(
        self,
        listener: Listener,
        clock: Clock = time.time_ns,
        metrics: StoreMetrics | None = None,
    ) -> None:
        self._metrics = metrics or StoreMetrics()
        self._stamps = Stamps(clock)
        self.health = StoreHealth()
        self._epoch = uuid.uuid4().hex
        self._listener = listener
        self._rooms: dict[str, _Room] = {}
        self._room_ids: list[str] = []  # in order
        # Where a message is: what it says may change.
        self._keys: dict[MessageKey, int] = {}
        self._users: dict[str, tuple[str, str, int]] = {}
        self._user_ids: list[str] = []  # in order
        self._active: set[str] = set()
        self._erasing: dict[str, None] = {}

    @property
    def epoch(self) -> str:
        return self._epoch

    def append(self, messages: Sequence[ChatMessage]) -> asyncio.Future[list[ChatMessage]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[ChatMessage]] = loop.create_future()
        results = [self._append(message) for message in messages]
        # Announced in a later turn, as any other engine does.
        loop.call_soon(self._finish, future, messages, results)
        return future

    async def wait_writable(self) -> None:
        return

    async def follow(self, room_id: str) -> Head:
        return self._room(room_id).head

    async def last_seq(self, room_id: str) -> int:
        return self._room(room_id).head.seq

    async def history(self, room_id: str, span: Range) -> Page:
        room = self._room(room_id)
        messages = room.messages
        # Of the positions behind `first` and up to `last`, one more than asked for shows
        # whether there are more.
        limit = span.limit + 1
        first = span.after_seq or 0
        last = len(messages) if span.before_seq is None else min(len(messages), span.before_seq - 1)
        if span.after_seq is not None:
            found = messages[first : max(first, min(last, first + limit))]
        else:
            found = messages[max(0, last - limit) : max(0, last)][::-1]
        return fit_page(found, span, room.change)

    async def change(self, change: Change) -> ChatMessage:
        try:
            codec.encode(change.request)
        except UnicodeEncodeError as error:
            raise Unstorable(str(error)) from error
        await asyncio.sleep(0)  # messages of this turn are announced before
        return self._change(change) or self._message(change.request)

    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        room = self._room(room_id)
        behind = [
            replace(room.info)
            if seq == ITSELF
            else change_of(room.messages[seq - 1], 0, text_change)
            for seq, text_change in room.changed.items()
            if room.number(seq) > after_change
        ]
        sizes = accumulate(len(codec.encode(each)) for each in behind[:limit])
        page = behind[: max(1, sum(size <= PAGE_BYTES for size in sizes))]
        has_more = len(behind) > len(page)
        last = number_of(page[-1]) if has_more else room.change
        return ChangesPage(span_of(room_id, after_change, last, page), has_more)

    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        room = self._room(room_id)
        behind = (seq for seq in room.changed if room.number(seq) > after_change)
        return len(list(islice(behind, most)))

    async def reactions(
        self, room_id: str, seq: int, user_id: str, after: tuple[str, int] | None, limit: int
    ) -> list[ReactionRow]:
        rows = sorted(
            ReactionRow(emoji, change, who)
            for (emoji, who), change in self._room(room_id).reactions.get(seq, {}).items()
            if user_id in ("", who) and (after is None or (emoji, change) > after)
        )
        return rows[:limit]

    async def mark(self, user_id: str, room_id: str, seq: int, *, back: bool) -> Mark:
        room = self._room(room_id)
        before = min(room.marks.get(user_id, 0), len(room.messages))
        after = min(seq, len(room.messages))
        if not back:
            after = max(before, after)
        mark = room.mark_of(user_id, after)
        if after != before:
            room.mark(user_id, after)
            await asyncio.sleep(0)  # messages of this turn are announced before
            self._listener.marked([UserMark(user_id, mark)])
        return mark

    async def erase(self, user_id: str, limit: int) -> Erased:
        await asyncio.sleep(0)
        self._erasing[user_id] = None
        asked = list(islice(self._traces(user_id), limit))
        for request in asked:
            self._change(Change(request))
        deleted = sum(isinstance(request.change, Delete) for request in asked)
        if next(self._traces(user_id), None) is not None:
            return Erased(deleted, done=False)
        for room in self._rooms.values():
            room.unmark(user_id)
        if self._users.pop(user_id, None) is not None:
            self._user_ids.remove(user_id)
        del self._erasing[user_id]
        return Erased(deleted, done=True)

    async def erasures(self) -> list[str]:
        return list(self._erasing)

    async def set_room(self, room: Room, if_change: int | None) -> Room:
        try:
            codec.encode(room)
        except UnicodeEncodeError as error:
            raise Unstorable(str(error)) from error
        await asyncio.sleep(0)  # messages of this turn are announced before
        known = self._room(room.id)
        info = decide_room(known.info, room, if_change, known.change + 1)
        if info is not None:
            known = self._open_room(room.id)
            self._metrics.changed += 1
            self._listener.changed([known.set(info)])
        return replace(known.info)

    async def room_ids(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        start = bisect_right(self._room_ids, after_id)
        query = folded(query)
        found = (
            room_id
            for room_id in islice(self._room_ids, start, None)
            if (not query or is_found(query, room_id, self._rooms[room_id].info.title))
            and (not marked_by or marked_by in self._rooms[room_id].marks)
        )
        ids = list(islice(found, limit))
        return RoomIds(ids, ids[-1] if next(found, None) is not None else "")

    async def room_rows(self, room_ids: Sequence[str], user_id: str) -> list[RoomRow]:
        rows = []
        for room_id in room_ids:
            room = self._room(room_id)
            last = room.messages[room.announced - 1] if room.announced else None
            seq = room.marks.get(user_id)
            mark = None if seq is None else room.mark_of(user_id, seq)
            members = min(len(room.members), MOST_MEMBERS)
            rows.append(RoomRow(replace(room.info), last, mark, members))
        return rows

    async def members(self, room_id: str, after_id: str, limit: int) -> list[str]:
        members = self._room(room_id).members
        start = bisect_right(members, after_id)
        return members[start : start + limit]

    async def get_users(self, user_ids: Sequence[str]) -> list[User]:
        return [self._user(user_id) for user_id in user_ids if user_id in self._users]

    async def get_user(self, user_id: str) -> User | None:
        return self._user(user_id) if user_id in self._users else None

    async def upsert_user(self, user_id: str, name: str, email: str, tone: int = 0) -> User:
        try:
            "".join((user_id, name, email)).encode()
        except UnicodeEncodeError as error:
            raise Unstorable(str(error)) from error
        self._know(user_id)
        self._users[user_id] = (name, email, tone)
        return self._user(user_id)

    async def list_users(self, after_id: str, limit: int) -> list[User]:
        start = bisect_right(self._user_ids, after_id)
        return [self._user(user_id) for user_id in self._user_ids[start : start + limit]]

    def set_active(self, user_id: str, active: bool) -> None:
        (self._active.add if active else self._active.discard)(user_id)

    async def close(self) -> None:
        await asyncio.sleep(0)  # messages of this turn are announced in the next

    def _append(self, message: ChatMessage) -> ChatMessage | Unstorable:
        try:
            codec.encode(message)
        except UnicodeEncodeError as error:
            return Unstorable(str(error))
        key = (message.room_id, message.sender_id, message.id)
        room = self._open_room(message.room_id)
        if key in self._keys:
            return room.messages[self._keys[key] - 1]
        message.seq = len(room.messages) + 1
        message.sent_at = from_micros(self._stamps.next())
        room.messages.append(message)
        self._keys[key] = message.seq
        self._know(message.sender_id)
        return message

    def _know(self, user_id: str) -> None:
        if user_id not in self._users:
            self._users[user_id] = (user_id, "", 0)
            insort(self._user_ids, user_id)

    def _finish(
        self,
        future: asyncio.Future[list[ChatMessage]],
        messages: Sequence[ChatMessage],
        results: Sequence[ChatMessage | StoreError],
    ) -> None:
        fresh = [sent for sent, each in zip(messages, results, strict=True) if each is sent]
        if fresh:
            self._metrics.stored += len(fresh)
            for message in fresh:
                self._rooms[message.room_id].announced = message.seq
            self._listener.announce(fresh)
        finish(future, results)

    def _change(self, change: Change) -> ChatMessage | None:
        """Changes a message; returns nothing if what is asked holds already."""
        request = change.request
        message = self._message(request)
        room = self._rooms[request.room_id]
        now = from_micros(self._stamps.next())
        outcome = decide(message, change, room.reactors(request), room.change + 1, now)
        if outcome is None:
            return None
        room.note(request, outcome.message)
        told = RoomChanges(request.room_id, room.change - 1, room.change, [outcome.change])
        self._metrics.changed += 1
        self._listener.changed([told])
        return outcome.message

    def _message(self, request: ChangeMessageRequest) -> ChatMessage:
        room = self._room(request.room_id)
        if not 1 <= request.seq <= room.announced:
            raise no_message(request)
        return room.messages[request.seq - 1]

    def _traces(self, user_id: str) -> Iterator[ChangeMessageRequest]:
        """Yields the requests that take back what a user sent, and its reactions."""
        for room_id, room in self._rooms.items():
            for message in room.messages:
                if message.sender_id == user_id and not is_deleted(message):
                    yield ChangeMessageRequest(room_id, message.seq, user_id, delete=Delete())
            for seq, reactions in room.reactions.items():
                for emoji, who in reactions:
                    if who == user_id:
                        yield ChangeMessageRequest(room_id, seq, user_id, unreact=emoji)

    def _room(self, room_id: str) -> _Room:
        return self._rooms.get(room_id) or _Room(room_id)

    def _open_room(self, room_id: str) -> _Room:
        """Returns a room, which is there from now on."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = _Room(room_id)
            insort(self._room_ids, room_id)
        return room

    def _user(self, user_id: str) -> User:
        return make_user(user_id, *self._users[user_id], active=user_id in self._active)
