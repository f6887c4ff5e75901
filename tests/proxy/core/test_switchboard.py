"""The switchboard, against a model of the server, in any order of events."""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace

import betterproto
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import proxy
from gen.chat import (
    ChatMessage,
    Error,
    ErrorCode,
    Join,
    Joined,
    JoinFollow,
    RelayCommand,
    RelayEvent,
    Stored,
)
from proxy.core.outbox import Item
from proxy.core.room import GapError, Room
from proxy.core.switchboard import Switchboard
from tests.proxy.relay_model import DirectOutbox, Follower, Server, Stream, decoded, tell
from tests.support import MODEL, PATIENCE_SECONDS

ROOMS = ("lobby", "attic", "refused")
USERS = ("ada", "bob")
LONG = 10_000.0
CONFIG = proxy.Config(hold_seconds=LONG, call_seconds=LONG)
# As the proxy follows each room: what servers of before know comes first.
ALL = [JoinFollow(each) for each in (1, 4, 2, 3)]

UNAVAILABLE = Error(code=ErrorCode(ErrorCode.UNAVAILABLE), message="later", retryable=True)

# A client that is about to enter a room.
Entry = tuple["Follower", AbstractContextManager[Room], Room]


class Chatting(RuleBasedStateMachine):
    """Clients that come, join, send and go, while the link breaks."""

    clients = st.integers(0, 2)
    room_ids = st.sampled_from(ROOMS)

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.stream: Stream | None = None
        self.followers = [Follower() for _ in range(3)]
        self.entering: list[Entry] = []
        self.requests = 0
        self.switchboard = Switchboard(CONFIG, DirectOutbox(self.put))

    def put(self, item: Item, size: int) -> None:
        command = decoded(item, size)
        if self.stream is not None:
            self.stream.inbox.append(command)

    # Steps of clients.

    @rule(
        index=clients,
        room_id=room_ids,
        user_id=st.sampled_from(USERS),
        key=st.none() | st.sampled_from("xyz"),
        content=st.sampled_from(["hello", "hello", "hello", ""]),
    )
    def send(self, index: int, room_id: str, user_id: str, key: str | None, content: str) -> None:
        client = self.followers[index]
        if any(client is entering for entering, _, _ in self.entering):
            return  # the frames of a client are handled one by one
        self.requests += 1
        request_id = str(self.requests)
        message = ChatMessage(
            id=key or request_id, room_id=room_id, sender_id=user_id, content=content
        )
        if room_id not in client.rooms:
            client.forget(room_id)
        client.sent[request_id] = message
        self.switchboard.send(client, message, request_id)

    @rule(index=clients, room_id=room_ids)
    def leave(self, index: int, room_id: str) -> None:
        self.switchboard.rooms.leave(self.followers[index], room_id)
        self.followers[index].forget(room_id)

    @rule(index=clients)
    def go(self, index: int) -> None:
        client = self.followers[index]
        self.switchboard.close(client)
        assert not client.rooms
        assert not client.users
        self.entering = [each for each in self.entering if each[0] is not client or self.exit(each)]
        self.followers[index] = Follower()

    @rule(index=clients, room_id=room_ids)
    def begin_to_enter(self, index: int, room_id: str) -> None:
        client = self.followers[index]
        if any(client is entering for entering, _, _ in self.entering):
            return
        self.switchboard.rooms.leave(client, room_id)
        client.forget(room_id)
        context = self.switchboard.rooms.pinned(room_id)
        self.entering.append((client, context, context.__enter__()))

    @precondition(lambda self: self.entering)
    @rule(follows=st.booleans())
    def enter(self, follows: bool) -> None:
        client, _, room = entry = self.entering.pop(0)
        if room.ready.done() and room.ready.result() is None:
            join = client.enter(room, follows=follows)
            self.switchboard.rooms.add_member(client, room, join)
        self.exit(entry)

    def exit(self, entry: Entry) -> bool:
        entry[1].__exit__(None, None, None)
        return False

    # Steps of the link and the server.

    @precondition(lambda self: self.stream is None)
    @rule(tells=st.sampled_from([True, True, True, False]))
    def connect(self, tells: bool) -> None:
        self.stream = Stream(tells)
        self.switchboard.connected()

    @precondition(lambda self: self.stream is not None)
    @rule(stored=st.booleans(), history_lost=st.sampled_from([False, False, False, True]))
    def disconnect(self, stored: bool, history_lost: bool) -> None:
        assert self.stream is not None
        pending, self.stream = self.stream.pending, None
        self.switchboard.disconnected()
        if stored:
            self.server.commit(None, pending)
        if history_lost:
            self.server.lose_history()

    @precondition(lambda self: self.stream is not None and self.stream.inbox)
    @rule(number=st.integers(1, 5))
    def process(self, number: int) -> None:
        assert self.stream is not None
        for _ in range(min(number, len(self.stream.inbox))):
            self.server.process(self.stream)

    @precondition(lambda self: self.stream is not None and self.stream.pending)
    @rule()
    def commit(self) -> None:
        assert self.stream is not None
        sends, self.stream.pending = self.stream.pending, []
        self.server.commit(self.stream, sends)

    @precondition(lambda self: self.stream is not None and self.stream.outbox)
    @rule(number=st.integers(1, 8))
    def deliver(self, number: int) -> None:
        assert self.stream is not None
        batch = self.stream.outbox[:number]
        del self.stream.outbox[:number]
        tell(self.switchboard, *batch)

    @precondition(lambda self: self.stream is not None)
    @rule()
    def all_on_its_way_arrives(self) -> None:
        assert self.stream is not None
        while self.stream.inbox or self.stream.outbox:
            if self.stream.inbox:
                self.process(5)
            if self.stream.outbox:
                self.deliver(8)

    @rule(index=clients, room_id=st.sampled_from(ROOMS[:2]), follows=st.booleans())
    def come_in(self, index: int, room_id: str, follows: bool) -> None:
        """The steps of an entry, one right behind the other."""
        if self.stream is None:
            self.connect(tells=follows)
        self.begin_to_enter(index, room_id)
        self.all_on_its_way_arrives()
        while self.entering:
            self.enter(follows)

    @rule(room_id=st.sampled_from(ROOMS[:2]))
    def somebody_else_sends(self, room_id: str) -> None:
        self.requests += 1
        message = ChatMessage(
            id=str(self.requests), room_id=room_id, sender_id="eve", content="hello"
        )
        self.server.commit(None, [(0, message, None)])
        if self.stream is not None and room_id in self.stream.rooms:
            self.stream.outbox.append(RelayEvent(chat_message=message))

    @rule(
        room_id=st.sampled_from(ROOMS[:2]),
        seqs=st.lists(st.integers(0, 5), min_size=1, max_size=4),
        at_once=st.booleans(),
    )
    def messages_are_changed(self, room_id: str, seqs: list[int], at_once: bool) -> None:
        if not self.server.history[room_id]:
            self.somebody_else_sends(room_id)
        for seq in seqs:
            self.server.change(room_id, 1 + seq % len(self.server.history[room_id]))
            if at_once and self.stream is not None:
                self.server.tell_changes(self.stream, room_id)

    @precondition(lambda self: self.stream is not None)
    @rule(room_id=st.sampled_from(ROOMS[:2]))
    def what_changed_is_told(self, room_id: str) -> None:
        assert self.stream is not None
        self.server.tell_changes(self.stream, room_id)

    # Invariants.

    @invariant()
    def nothing_is_answered_twice(self) -> None:
        for client in self.followers:
            assert all(number == 1 for number in client.answers.values())

    def teardown(self) -> None:
        """Lets all settle; then every client has everything."""
        while self.entering:
            self.enter(follows=True)
        if self.stream is not None and not self.stream.tells:
            self.disconnect(stored=True, history_lost=False)
        self.come_to_rest()
        for client in self.followers:
            assert set(client.answers) == set(client.sent)
            for room_id in client.rooms & set(client.last):
                assert client.last[room_id] == len(self.server.history[room_id])
            for room_id in client.rooms & set(client.changes):
                assert client.changes[room_id] == len(self.server.changes[room_id])
            for (room_id, seq), change in client.shown.items():
                assert change == self.server.last_change(room_id, seq)
        assert self.stream is not None
        assert set(self.stream.rooms) == set().union(*(each.rooms for each in self.followers))
        assert self.stream.active <= set().union(*(each.users for each in self.followers))
        for index in range(3):
            self.go(index)
        self.come_to_rest()
        assert not self.stream.rooms
        assert not self.stream.active

    def come_to_rest(self) -> None:
        if self.stream is None:
            self.connect(tells=True)
        assert self.stream is not None
        for room_id in ROOMS[:2]:
            self.server.tell_changes(self.stream, room_id)
        while self.stream.inbox or self.stream.pending or self.stream.outbox:
            if self.stream.inbox:
                self.process(5)
            if self.stream.pending:
                self.commit()
            if self.stream.outbox:
                self.deliver(8)
        # Nothing is on its way: memberships are settled.
        assert not any(room.tentative for room in self.switchboard.rooms)


async def test_switchboard_handles_any_event_order() -> None:
    # In an asynchronous test: waiters for a room belong to the event loop.
    run_state_machine_as_test(
        Chatting, settings=settings(MODEL, max_examples=100, stateful_step_count=60)
    )


# Cases that the model of the server never produces.


class Asked:
    """Commands of a switchboard to the server."""

    def __init__(self) -> None:
        self.commands: asyncio.Queue[RelayCommand] = asyncio.Queue()

    def put(self, item: Item, size: int) -> None:
        self.commands.put_nowait(decoded(item, size))

    async def next(self, kind: str) -> RelayCommand:
        """Waits for the next command of a kind."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                command = await self.commands.get()
                if betterproto.which_one_of(command, "command")[0] == kind:
                    return command


@pytest.fixture
def asked() -> Asked:
    """Commands of `switchboard`."""
    return Asked()


@pytest.fixture
async def switchboard(asked: Asked) -> Switchboard:
    """A switchboard with a link, and a bound of 200 unconfirmed bytes."""
    config = proxy.Config(hold_seconds=LONG, hold_bytes=200)
    switchboard = Switchboard(config, DirectOutbox(asked.put))
    switchboard.connected()
    return switchboard


def stored(seq: int) -> RelayEvent:
    message = ChatMessage(id=str(seq), room_id="lobby", sender_id="eve", content="hello", seq=seq)
    return RelayEvent(chat_message=message)


async def test_missing_message_is_noticed(switchboard: Switchboard, asked: Asked) -> None:
    client = Follower()
    with switchboard.rooms.pinned("lobby") as room:
        join = await asked.next("join")
        joined = Joined("lobby", "this", 0, recovered=False)
        tell(switchboard, RelayEvent(ref=join.ref, joined=joined))
        switchboard.rooms.add_member(client, room)
    with pytest.raises(GapError, match="3 came after 1"):
        tell(switchboard, stored(1), stored(3), stored(4))
    # Messages before the gap count, and the room is requested from there.
    assert client.last == {"lobby": 1}
    switchboard.disconnected()
    switchboard.connected()
    assert (await asked.next("join")).join == Join("lobby", 1, "this", ALL)


async def test_messages_past_a_gap_stay_unconfirmed(switchboard: Switchboard, asked: Asked) -> None:
    message = post("1")
    switchboard.send(Follower(), message, "mine")
    join = await asked.next("join")
    tell(switchboard, RelayEvent(ref=join.ref, joined=Joined("lobby", "this", 0, recovered=False)))
    sent = await asked.next("chat_message")
    with pytest.raises(GapError, match="2 came after 0"):
        tell(switchboard, RelayEvent(stored=Stored(refs=[sent.ref], seqs=[2])))
    # It is sent again on the next link.
    switchboard.disconnected()
    switchboard.connected()
    again = await asked.next("chat_message")
    assert (again.ref, again.chat_message) == (sent.ref, message)


async def test_unavailable_room_is_asked_again(switchboard: Switchboard, asked: Asked) -> None:
    client = Follower()
    switchboard.send(client, post("1"), "mine")
    first = await asked.next("join")
    tell(switchboard, RelayEvent(ref=first.ref, error=UNAVAILABLE))
    assert client.rooms == {"lobby"}
    second = await asked.next("join")
    assert second.join == Join("lobby", follow=ALL)
    assert second.ref > first.ref


async def test_senders_wait_for_slow_server(switchboard: Switchboard, asked: Asked) -> None:
    client = Follower()
    await switchboard.sends.wait_writable()
    message = post("1")
    switchboard.send(client, message, "mine")
    waiting = asyncio.create_task(switchboard.sends.wait_writable())
    await asyncio.sleep(0)
    assert not waiting.done()
    sent = await asked.next("chat_message")
    answer = RelayEvent(ref=sent.ref, chat_message=replace(message, seq=1))
    tell(switchboard, answer)
    await waiting
    assert client.answers == {"mine": 1}


async def test_waked_senders_stay_under_bound(switchboard: Switchboard, asked: Asked) -> None:
    """They wake together, but unconfirmed bytes stay under the bound."""
    client = Follower()

    async def send_when_calm(number: int) -> None:
        await switchboard.sends.wait_writable()
        switchboard.send(client, post(str(number)), str(number))

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(send_when_calm(number))
        for seq in range(1, 6):
            sent = await asked.next("chat_message")
            assert len(list(switchboard.sends)) == 1
            answer = replace(sent.chat_message, seq=seq)
            tell(switchboard, RelayEvent(ref=sent.ref, chat_message=answer))
    assert client.answers == {str(number): 1 for number in range(5)}


async def test_senders_wait_behind_held_messages(switchboard: Switchboard, asked: Asked) -> None:
    client = Follower()
    switchboard.disconnected()
    switchboard.send(client, post("held"), "held")
    await switchboard.sends.wait_writable()
    switchboard.connected()
    assert not switchboard.sends.is_writable
    sent = [await asked.next("chat_message") for _ in range(2)][-1]
    answer = replace(sent.chat_message, seq=1)
    tell(switchboard, RelayEvent(ref=sent.ref, chat_message=answer))
    assert switchboard.sends.is_writable


def post(key: str) -> ChatMessage:
    return ChatMessage(id=key, room_id="lobby", sender_id="ada", content="x" * 100)


async def test_senders_never_wait_without_link(switchboard: Switchboard) -> None:
    switchboard.send(Follower(), post("1"), None)
    waiting = asyncio.create_task(switchboard.sends.wait_writable())
    await asyncio.sleep(0)
    switchboard.disconnected()
    await waiting


async def test_unavailable_room_is_kept_during_replay(
    switchboard: Switchboard, asked: Asked
) -> None:
    client = Follower()
    with switchboard.rooms.pinned("lobby") as room:
        first = await asked.next("join")
        joined = Joined("lobby", "this", 0, recovered=False)
        tell(switchboard, RelayEvent(ref=first.ref, joined=joined))
        # The client gets its missed messages, and the link is lost.
        switchboard.disconnected()
        switchboard.connected()
        again = await asked.next("join")
        tell(switchboard, RelayEvent(ref=again.ref, error=UNAVAILABLE))
        switchboard.rooms.add_member(client, room)
    third = await asked.next("join")
    joined = Joined("lobby", "this", 0, recovered=True)
    tell(switchboard, RelayEvent(ref=third.ref, joined=joined), stored(1))
    assert client.last == {"lobby": 1}
