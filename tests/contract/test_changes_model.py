"""Every engine against a plain model of what becomes of messages, in any order of calls.

Beside the model there is a follower: it knows only what the store announces, and has to end up
with the same picture.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import betterproto
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from chat.errors import ChatError, FailedPrecondition, NotFound, PermissionDenied
from chat.storage.base import Range
from chat.storage.changes import Change, is_deleted, state_of, with_change
from chat.storage.rooms import room_of
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    Delete,
    MessageExtra,
    MessageState,
    Reaction,
    Room,
    RoomChanges,
)
from tests.contract.engines import ENGINES, Build
from tests.contract.machine import EngineMachine, check
from tests.support import message

ROOMS = ["a", "b"]
USERS = ["ada", "ben", "bob' OR '1'='1"]
rooms = st.sampled_from(ROOMS)
users = st.sampled_from(USERS)
titles = st.sampled_from(["", "Title", "Été"])
texts = st.sampled_from(["hello", "x" * 3000, "été 🦊", "', ''); --"])
extras = st.none() | st.builds(
    MessageExtra, mentions=st.lists(users, max_size=2, unique=True), mentions_room=st.booleans()
)
wishes: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"content": texts}),
    st.just({"delete": Delete()}),
    st.fixed_dictionaries({"react": st.sampled_from(["👍", "a"])}),
    st.fixed_dictionaries({"unreact": st.sampled_from(["👍", "a"])}),
    st.fixed_dictionaries({"pinned": st.booleans()}),
)
requests = st.builds(
    lambda room, seq, user, if_change, wish: ChangeMessageRequest(
        room, seq, user, if_change, **wish
    ),
    rooms, st.integers(1, 2) | st.sampled_from([0, 3, 4, 5, 2**32 - 1]), users,
    st.none() | st.integers(0, 3), wishes,
)  # fmt: skip

pytestmark = pytest.mark.timeout(300)


@dataclass
class Kept:
    """A message of the model."""

    sender_id: str
    text: str
    mentions: set[str]
    change: int = 0
    has_new_text: bool = False
    deleted: bool = False
    deleted_by: str | None = None
    pinned: bool = False
    reactions: dict[str, list[str]] = field(default_factory=dict)

    def obey(self, request: ChangeMessageRequest) -> bool:
        """Does what is asked; returns whether that changed anything."""
        name, value = betterproto.which_one_of(request, "change")
        who = request.user_id
        before = repr(self)
        if name == "content" and isinstance(value, str):
            self.text = value
        elif name == "delete" and not self.deleted:
            self.deleted_by = None if who == self.sender_id else who
            self.text, self.deleted, self.pinned = "", True, False
            self.reactions, self.mentions = {}, set()
        elif isinstance(value, bool):
            self.pinned = value
        elif isinstance(value, str):
            given = self.reactions.setdefault(value, [])
            if name == "react" and who not in given:
                given.append(who)
            if name == "unreact" and who in given:
                given.remove(who)
            if not given:
                del self.reactions[value]
        return repr(self) != before


class Follower:
    """Somebody who follows all rooms from the beginning, and knows what is announced."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[ChatMessage]] = {room: [] for room in ROOMS}
        self.info = {room: Room(room) for room in ROOMS}
        self.change = dict.fromkeys(ROOMS, 0)

    def hear(self, sent: ChatMessage) -> None:
        room = self.rooms[sent.room_id]
        assert sent.seq == len(room) + 1
        room.append(replace(sent))

    def hear_changes(self, told: RoomChanges) -> None:
        assert told.after_change == self.change[told.room_id] < told.last_change
        self.change[told.room_id] = told.last_change
        room = self.rooms[told.room_id]
        info = room_of(told)
        if info is not None:
            assert told.after_change < info.change <= told.last_change
            self.info[told.room_id] = info
        numbers = [each.state.change for each in told.messages]
        assert numbers == sorted(set(numbers))
        for each in told.messages:
            assert each.seq <= len(room)
            assert told.after_change < each.state.change <= told.last_change
            known = state_of(room[each.seq - 1])
            if known is None or known.change < each.state.change:
                room[each.seq - 1] = with_change(room[each.seq - 1], each)


class ChangesMachine(EngineMachine):
    """Compares a store with dictionaries."""

    def __init__(self, build: Build, database: str) -> None:
        super().__init__(build, database)
        self.follower = Follower()
        self.engine.listen = self.follower.hear
        self.engine.listen_to_changes = self.follower.hear_changes
        self.model: dict[str, list[Kept]] = {room: [] for room in ROOMS}
        self.change = dict.fromkeys(ROOMS, 0)
        self.info = {room: Room(room) for room in ROOMS}
        self.marks: dict[tuple[str, str], int] = {}
        self.erased: set[str] = set()
        self.keys = 0
        for room in ROOMS:
            self.append(room, "ada", "hello", None, 2)

    @rule(room=rooms, sender=users, text=texts, extra=extras, count=st.integers(1, 3))
    def append(
        self, room: str, sender: str, text: str, extra: MessageExtra | None, count: int
    ) -> None:
        sent = []
        for _ in range(count):
            self.keys += 1
            one = message(room, text, sender_id=sender, key=str(self.keys))
            mentions: set[str] = set()
            if extra is not None and betterproto.serialized_on_wire(extra):
                one.extra = replace(extra)
                everyone = set(USERS) if extra.mentions_room else set()
                mentions = (everyone | set(extra.mentions)) - {sender}
            sent.append(one)
            self.model[room].append(Kept(sender, text, mentions))
        self.runner.run(self._append(sent))

    async def _append(self, sent: list[ChatMessage]) -> None:
        await self.store.append(sent)

    @rule(asked=st.lists(requests, min_size=1, max_size=4), moderator=st.booleans())
    def ask(self, asked: list[ChangeMessageRequest], moderator: bool) -> None:
        # One after the other, and then together: what is asked holds already.
        for request in asked:
            self.ask_once(request, moderator)
        for request in asked:
            request.if_change = None

        async def repeat() -> None:
            wanted = (self.store.change(Change(each, moderator)) for each in asked[-1:])
            for outcome in await asyncio.gather(*wanted, return_exceptions=True):
                assert isinstance(outcome, ChatMessage | ChatError), outcome

        before = dict(self.change)
        last = asked[-1]
        self.runner.run(repeat())
        if self.refusal(last, moderator) is None:
            self.note(last)
        assert sum(self.change.values()) - sum(before.values()) <= 1

    def ask_once(self, request: ChangeMessageRequest, moderator: bool) -> None:
        refusal = self.refusal(request, moderator)
        if refusal is not None:
            with pytest.raises(refusal):
                self.runner.run(self._change(Change(request, moderator)))
            return
        found = self.runner.run(self._change(Change(request, moderator)))
        kept = self.note(request)
        assert found.seq == request.seq
        self.compare(found, kept)
        self.changes(request.room_id, max(0, kept.change - 1), 1)

    async def _change(self, change: Change) -> ChatMessage:
        return await self.store.change(change)

    def refusal(self, request: ChangeMessageRequest, moderator: bool) -> type[ChatError] | None:
        """What the rules say against a request."""
        room = self.model[request.room_id]
        if not 1 <= request.seq <= len(room):
            return NotFound
        kept = room[request.seq - 1]
        name, value = betterproto.which_one_of(request, "change")
        own = kept.sender_id == request.user_id
        if not {"content": own, "delete": own or moderator, "pinned": moderator}.get(name, True):
            return PermissionDenied
        if kept.deleted and name not in ("delete", "unreact") and value is not False:
            return FailedPrecondition
        trial = replace(kept, reactions={k: [*v] for k, v in kept.reactions.items()})
        if request.if_change not in (None, kept.change) and trial.obey(request):
            return FailedPrecondition
        return None

    def note(self, request: ChangeMessageRequest) -> Kept:
        kept = self.model[request.room_id][request.seq - 1]
        text = kept.text
        if kept.obey(request):
            self.change[request.room_id] += 1
            kept.change = self.change[request.room_id]
            kept.has_new_text = kept.has_new_text or kept.text != text
        return kept

    @rule(user=users, room=rooms, seq=st.integers(0, 8), back=st.booleans())
    def mark(self, user: str, room: str, seq: int, back: bool) -> None:
        moved = min(seq, len(self.model[room]))
        if not back:
            moved = max(moved, self.marks.get((user, room), 0))
        self.marks[user, room] = moved

        async def mark() -> None:
            mark = await self.store.mark(user, room, seq, back=back)
            unread = sum(user in each.mentions for each in self.model[room][moved:])
            assert (mark.room_id, mark.seq) == (room, moved)
            # What mentioned somebody who was erased may count or not.
            assert user in self.erased or mark.mentions == unread

        self.runner.run(mark())

    @rule(room=rooms, title=titles, if_change=st.none() | st.integers(0, 3))
    def set_room(self, room: str, title: str, if_change: int | None) -> None:
        before = self.info[room]
        holds = before.title == title
        expected = holds or if_change in (None, before.change)
        wanted = Room(room, title, title)

        async def set_room() -> Room:
            return await self.store.set_room(wanted, if_change)

        if not expected:
            with pytest.raises(FailedPrecondition):
                self.runner.run(set_room())
            return
        found = self.runner.run(set_room())
        if not holds:
            self.change[room] += 1
            self.info[room] = replace(wanted, change=self.change[room])
        assert found == self.info[room]

    @rule(user=users)
    def list_rooms(self, user: str) -> None:

        async def list_rooms() -> None:
            ids, after = await self.store.room_ids("", 9, "", "")
            known = [room for room in ROOMS if self.model[room] or self.info[room].change]
            assert (ids, after) == (known, "")
            for row in await self.store.room_rows(ROOMS, user):
                room_id = row.room.id
                assert row.room == self.info[room_id]
                page = await self.store.history(room_id, Range(1))
                assert [each for each in (row.last_message,) if each] == page.messages
                assert (row.mark.seq if row.mark else 0) == self.marks.get((user, room_id), 0)
                members = await self.store.members(room_id, "", 9)
                assert row.members == len(members)
                assert (user in members) == (row.mark is not None)

        self.runner.run(list_rooms())

    @rule(user=users, step=st.integers(1, 3))
    def erase(self, user: str, step: int) -> None:
        async def erase() -> int:
            messages = 0
            while True:
                erased = await self.store.erase(user, step)
                messages += erased.messages
                if erased.done:
                    return messages

        self.erased.add(user)
        deleted = sum(self.forget(room, user) for room in ROOMS)
        assert self.runner.run(erase()) == deleted
        for room in ROOMS:
            self.learn_numbers(room, user)

    def forget(self, room: str, user: str) -> int:
        """Erases a user from the model; returns how many messages that deleted."""
        self.marks.pop((user, room), None)
        deleted = 0
        for kept in self.model[room]:
            if kept.sender_id == user and not kept.deleted:
                kept.obey(ChangeMessageRequest(delete=Delete(), user_id=user))
                deleted += 1
            for emoji in list(kept.reactions):
                kept.obey(ChangeMessageRequest(unreact=emoji, user_id=user))
        return deleted

    def learn_numbers(self, room: str, user: str) -> None:
        """Takes over in which order an erasure went: that is the engine's affair."""
        page = self.runner.run(self.store.history(room, Range(500)))
        self.change[room] = page.last_change
        for found, kept in zip(page.messages, self.model[room], strict=True):
            state = state_of(found)
            if state is not None and state.change != kept.change:
                kept.change = state.change
                kept.has_new_text = kept.has_new_text or kept.sender_id == user

    @rule(room=rooms, after=st.integers(0, 9), limit=st.integers(1, 4))
    def changes(self, room: str, after: int, limit: int) -> None:
        page = self.runner.run(self.store.changes(room, after, limit))
        # What is known of the room itself is in the place of a message 0.
        places = [(self.info[room].change, 0)]
        places += [(kept.change, seq) for seq, kept in enumerate(self.model[room], 1)]
        behind = sorted(place for place in places if place[0] > after)
        seqs = [seq for _, seq in behind[:limit]]
        assert [each.seq for each in page.changes.messages] == [seq for seq in seqs if seq]
        assert room_of(page.changes) == (self.info[room] if 0 in seqs else None)
        for each in page.changes.messages:
            kept = self.model[room][each.seq - 1]
            assert each.content == (kept.text if kept.has_new_text else None)
        assert page.has_more == (len(behind) > limit)
        last = behind[limit - 1][0] if page.has_more else self.change[room]
        assert page.changes.last_change == last
        counted = self.runner.run(self.store.count_changes(room, after, limit))
        assert counted == min(len(behind), limit)

    @rule(room=rooms, limit=st.integers(1, 8), after=st.none() | st.integers(0, 8))
    def page(self, room: str, limit: int, after: int | None) -> None:
        page = self.runner.run(self.store.history(room, Range(limit, after_seq=after)))
        kept = list(enumerate(self.model[room], 1))[after or 0 :]
        kept = kept[-limit:] if after is None else kept[:limit]
        assert [each.seq for each in page.messages] == [seq for seq, _ in kept]
        for found, (_, model) in zip(page.messages, kept, strict=True):
            self.compare(found, model)
        assert page.last_change == self.change[room]

    @invariant()
    def follower_has_the_same_picture(self) -> None:
        for room, messages in self.model.items():
            assert self.follower.change[room] == self.change[room]
            assert self.follower.info[room] == self.info[room]
            for found, kept in zip(self.follower.rooms[room], messages, strict=True):
                self.compare(found, kept)

    def compare(self, found: ChatMessage, kept: Kept) -> None:
        state = state_of(found) or MessageState()
        assert found.content == kept.text
        assert is_deleted(found) == kept.deleted
        assert (state.change, state.pinned) == (kept.change, kept.pinned)
        assert state.deleted_by == kept.deleted_by
        assert state.reactions == [
            Reaction(emoji, len(given), given) for emoji, given in kept.reactions.items()
        ]


@pytest.mark.parametrize("build", ENGINES)
def test_changes_in_any_order(request: pytest.FixtureRequest, build: Build) -> None:
    check(ChangesMachine, request, build, examples=12, shared_examples=3)
