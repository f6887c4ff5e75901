"""What is told beside messages, and to whom."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import proxy
from gen.chat import (
    ChatMessage,
    Join,
    Joined,
    JoinFollow,
    Mark,
    MessageChange,
    MessageState,
    Reads,
    RelayEvent,
    RelayResponse,
    RoomChanges,
    ToUser,
)
from gen.chat import Room as GivenRoom
from proxy.core.changes import merged, tells_room
from proxy.core.client import Caller
from proxy.core.news import FEW, SOME
from proxy.core.outbox import Outbox
from proxy.core.room import GapError, Room
from proxy.core.switchboard import Switchboard
from tests.clock import ClockLoop
from tests.proxy.relay_model import Recorder
from tests.proxy.web_client import Frame

CHANGES = JoinFollow(JoinFollow.CHANGES)
READS = JoinFollow(JoinFollow.READS)


class World:
    """A live room "lobby" of a switchboard, at message 5 and change 10."""

    def __init__(self) -> None:
        outbox = Outbox()
        outbox.open()
        self.switchboard = Switchboard(proxy.Config(), outbox)
        self.switchboard.connected()
        self._pin: AbstractContextManager[Room] = self.switchboard.rooms.pinned("lobby")
        self.room = self._pin.__enter__()
        self.tell(RelayEvent(self.room.join_ref, joined=Joined("lobby", "this", 5, False, 10)))

    def tell(self, *events: RelayEvent) -> None:
        self.switchboard.receive(RelayResponse(list(events)))

    def enter(self, number: int = 1, *follow: JoinFollow, user_id: str = "") -> list[Recorder]:
        clients = [Recorder() for _ in range(number)]
        join = Join("lobby", follow=list(follow), user_id=user_id)
        for client in clients:
            self.switchboard.rooms.add_member(client, self.room, join)
        return clients


@pytest.fixture
async def world() -> World:
    return World()


def changed(number: int, seq: int = 1, content: str | None = None) -> RelayEvent:
    """The server tells of one change."""
    state = MessageState(change=number)
    span = RoomChanges("lobby", number - 1, number, [MessageChange(seq, content, state)])
    return RelayEvent(changes=span)


def message(seq: int) -> RelayEvent:
    return RelayEvent(chat_message=ChatMessage("", "lobby", "eve", "hello", seq))


def kinds(frames: Sequence[Frame]) -> list[str]:
    return [next(iter(frame)) for frame in frames]


def spans(frames: Sequence[Frame]) -> Iterator[tuple[int, int]]:
    for frame in frames:
        yield frame["changes"]["after_change"], frame["changes"]["last_change"]


async def test_change_is_told_behind_messages_of_its_batch(world: World) -> None:
    [keen], [plain] = world.enter(1, CHANGES), world.enter()
    world.tell(changed(11), message(6), changed(12, 6), message(7))
    assert kinds(keen.take()) == ["chat_message", "chat_message", "changes", "changes"]
    assert kinds(plain.take()) == ["chat_message", "chat_message"]


async def test_frame_is_made_once_for_all(world: World) -> None:
    clients = world.enter(3, CHANGES)
    world.tell(changed(11))
    first, *others = [client.writes[0] for client in clients]
    assert all(each is first for each in others)


async def test_many_followers_are_told_less_often(loop: ClockLoop, world: World) -> None:
    client, *_ = world.enter(SOME + 1, CHANGES)
    for number in range(11, 61):
        # Its text changed once, in the middle.
        world.tell(changed(number, content="edited" if number == 30 else None))
    assert list(spans(client.take())) == [(10, 11)]
    [late] = world.enter(1, CHANGES)
    await loop.pass_time(1)
    [frame] = client.take()
    assert frame["changes"] == {
        "room_id": "lobby",
        "after_change": 11,
        "last_change": 60,
        "messages": [
            {
                "seq": 1,
                "content": "edited",
                "state": {"change": 60, "pinned": False, "reactions": []},
            }
        ],
    }
    # One who entered meanwhile is told it too, and goes on from there.
    assert late.take() == [frame]


async def test_storm_in_a_room_of_ten_thousand(loop: ClockLoop, world: World) -> None:
    """The server tells four times a second, the proxy once; what is told leaves nothing out."""
    clients = world.enter(10_000, CHANGES)
    for number in range(11, 24):
        world.tell(changed(number))
        await loop.pass_time(0.25)
    assert {len(each.writes) for each in clients} == {4}
    assert all(each.writes == clients[0].writes for each in clients)
    assert list(spans(clients[0].take())) == [(10, 11), (11, 14), (14, 18), (18, 22)]


async def test_few_followers_are_told_as_it_comes(world: World) -> None:
    client, *_ = world.enter(SOME, CHANGES)
    for number in range(11, 16):
        world.tell(changed(number))
    assert list(spans(client.take())) == [(number, number + 1) for number in range(10, 15)]


async def test_large_changes_do_not_wait(world: World) -> None:
    client, *_ = world.enter(SOME + 1, CHANGES)
    text = "x" * 100_000
    world.tell(*(changed(number, number - 10, text) for number in range(11, 15)))
    assert list(spans(client.take())) == [(10, 11), (11, 14)]


@pytest.mark.parametrize("event", [changed(12), changed(11, 6)], ids=["change", "message"])
async def test_gap_before_a_change_ends_the_link(world: World, event: RelayEvent) -> None:
    [keen] = world.enter(1, CHANGES)
    with pytest.raises(GapError):
        world.tell(event)
    assert keen.take() == []
    assert world.room.last_change == 10


async def test_newer_state_is_told_without_a_new_number(world: World) -> None:
    """A replay of the server may have come further than its position says."""
    [keen] = world.enter(1, CHANGES)
    state = MessageState(change=12)
    world.tell(RelayEvent(changes=RoomChanges("lobby", 10, 10, [MessageChange(1, "text", state)])))
    world.tell(RelayEvent(changes=RoomChanges("lobby", 8, 10)))
    [frame] = keen.take()
    assert frame["changes"]["messages"][0]["state"]["change"] == 12
    assert world.room.last_change == 10
    world.tell(changed(11))
    assert list(spans(keen.take())) == [(10, 11)]


async def test_room_is_told_with_its_changes(loop: ClockLoop, world: World) -> None:
    clients = world.enter(SOME + 1, CHANGES)
    for number in range(11, 15):
        span = RoomChanges("lobby", number - 1, number)
        span.room = GivenRoom("lobby", f"title {number}", change=number)
        world.tell(RelayEvent(changes=span))
    [first] = clients[0].take()
    await loop.pass_time(1)
    [last] = clients[0].take()
    assert first["changes"]["room"]["title"] == "title 11"
    assert first["changes"]["messages"] == last["changes"]["messages"] == []
    assert last["changes"]["room"]["title"] == "title 14"


async def test_other_history_starts_over(world: World) -> None:
    clients = world.enter(SOME + 1, CHANGES)
    [plain] = world.enter()
    world.tell(changed(11), changed(12))
    for client in clients:
        client.take()
    world.tell(RelayEvent(world.room.join_ref, joined=Joined("lobby", "that", 2, False, 1)))
    joined = {"room_id": "lobby", "epoch": "that", "last_seq": 2, "recovered": False}
    assert plain.take() == [{"joined": joined}]
    assert clients[0].take() == [{"joined": joined | {"last_change": 1}}]
    # What waited of the other history is not told.
    world.tell(changed(2))
    assert list(spans(clients[0].take())) == [(1, 2)]


async def test_unencodable_changes_are_a_gap(world: World) -> None:
    [keen], [plain] = world.enter(1, CHANGES), world.enter()
    # A lone surrogate: no server sends one.
    world.tell(changed(11, content="\ud800"))
    [frame] = keen.take()
    assert frame["joined"]["recovered"] is False
    assert frame["joined"]["last_change"] == 11
    assert plain.take() == []


async def test_reads_are_told_where_few_are(world: World) -> None:
    [reader], [keen] = world.enter(1, READS), world.enter(1, CHANGES)
    world.enter(FEW - 2)
    reads = RelayEvent(reads=Reads("lobby", ["ada"], [4]))
    world.tell(reads)
    assert reader.take() == [{"reads": {"room_id": "lobby", "user_ids": ["ada"], "seqs": [4]}}]
    assert keen.take() == []
    world.enter()
    world.tell(reads)
    assert reader.take() == []


async def test_mark_is_told_to_its_user(world: World) -> None:
    [named], [other] = world.enter(1, READS, user_id="ada"), world.enter(1, READS, user_id="bob")
    # It follows nothing, so it is not told either.
    [plain] = world.enter(1, user_id="ada")
    [sender] = world.enter(1, CHANGES)
    world.switchboard.send(sender, ChatMessage("x", "attic", "ada", "hello"), None)
    subject = Recorder()
    subject.caller = Caller(1, "token", subject.dismiss)
    subject.caller.user_id = "ada"
    world.switchboard.rooms.add_member(subject, world.room, Join("lobby", follow=[CHANGES]))
    mark = RelayEvent(to_user=ToUser("ada", mark=Mark("lobby", 4, 2)))
    world.tell(mark)
    for client in (named, sender, subject):
        assert client.take() == [{"mark": {"room_id": "lobby", "seq": 4, "mentions": 2}}]
    for client in (other, plain):
        assert client.take() == []
    world.switchboard.rooms.leave(named, "lobby")
    world.switchboard.close(sender)
    world.tell(mark)
    assert named.take() == sender.take() == []
    assert kinds(subject.take()) == ["mark"]


# Of message 1 to 3, or of the room itself.
changes_of_one = st.tuples(st.integers(0, 3), st.none() | st.text(max_size=3))


@given(st.lists(st.lists(changes_of_one, max_size=4), min_size=1, max_size=5))
def test_merged_changes_tell_the_same(batches: list[list[tuple[int, str | None]]]) -> None:
    number, told = 0, list[RoomChanges]()
    texts: dict[int, str] = {}
    last: dict[int, int] = {}
    known = GivenRoom()
    for batch in batches:
        after, messages = number, dict[int, MessageChange]()
        room: GivenRoom | None = None
        for seq, content in batch:
            number += 1
            if not seq:
                room = known = GivenRoom("lobby", content or "", change=number)
                continue
            last[seq] = number
            if content is not None:
                texts[seq] = content
            before = messages.pop(seq, None)
            text = content if before is None or content is not None else before.content
            messages[seq] = MessageChange(seq, text, MessageState(change=number))
        span = RoomChanges("lobby", after, number, list(messages.values()))
        if room is not None:
            span.room = room
        told.append(span)
    whole = told[0]
    for each in told[1:]:
        whole = merged(whole, each)
    assert (whole.after_change, whole.last_change) == (0, number)
    assert {each.seq: each.state.change for each in whole.messages} == last
    assert {each.seq: each.content for each in whole.messages if each.content is not None} == texts
    assert [each.state.change for each in whole.messages] == sorted(last.values())
    assert whole.room == known
    assert tells_room(whole) is any(map(tells_room, told))
